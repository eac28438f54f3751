"""The only places that talk to something: the two databases and the switches."""
