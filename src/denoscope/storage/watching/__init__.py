"""What can be seen of a recording from outside while others write it, without PyTorch."""
