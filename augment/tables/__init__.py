"""The one reader of files of rows, for both packages: dialects, encodings, bounds."""
