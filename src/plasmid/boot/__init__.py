"""How the program gets to the far side: the few lines given to Python there, and the bundle that follows them."""
