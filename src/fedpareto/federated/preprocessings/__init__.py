"""What is done to every example before the model sees it."""
