"""Events as lines of JSON that can be kept elsewhere, and stored again from there."""
