"""What runs leave on disk: sealed records, and the directory that holds them."""
