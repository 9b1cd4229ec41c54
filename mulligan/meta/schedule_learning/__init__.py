"""What learned schedules are learned on, and by which gradients."""
