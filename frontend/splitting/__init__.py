"""`split`: split one model over a fleet of devices, and run the resulting folder."""
