"""`split`: one model on a fleet of devices, and the folder that it becomes."""
