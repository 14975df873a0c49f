"""LeNet-5, which classifies digits, and the likeness by which it rejects other images."""
