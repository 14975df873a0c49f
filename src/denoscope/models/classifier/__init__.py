"""The LeNet-5 that classifies digits, and what it rejects."""
