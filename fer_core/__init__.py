"""What is true of facial expression recognition, whether or not anyone searches."""
