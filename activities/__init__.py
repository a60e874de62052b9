"""Side effects, one module per kind of effect: the only code that touches the world."""
