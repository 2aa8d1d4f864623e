"""The version of this product: what is installed, and what calls say of themselves."""

VERSION = "0.1.0"
