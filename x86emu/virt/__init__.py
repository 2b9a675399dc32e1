"""Hardware-assisted virtualization: controls, fields and checks as data, and what explains them."""
