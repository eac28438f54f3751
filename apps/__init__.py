"""Labs to run vtep_ryu against: the parts they are built from, and the demo."""
