"""What editors and highlighters need to show .dlir files."""
