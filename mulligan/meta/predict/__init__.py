"""What a prior is made of: curves that can be compared, nearness of tasks, models, and what they find."""
