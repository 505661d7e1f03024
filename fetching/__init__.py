"""What actions share whose modules fetch from outside: the variables that they get, running in the background, telling how far they are."""
