"""Plans that run as they are, and a program that uses the library."""
