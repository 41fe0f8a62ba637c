"""One classifier as several smaller ones: classes, shapes, pruning, devices."""
