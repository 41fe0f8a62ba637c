"""One classifier as several smaller ones: which classes and which device each gets."""
