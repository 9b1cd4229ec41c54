"""What a race is made of: who takes part, what is expected, who gets how much, what came of it."""
