"""The Ryu applications."""
