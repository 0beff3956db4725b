"""What is drawn, listed and generated for README and the site."""
