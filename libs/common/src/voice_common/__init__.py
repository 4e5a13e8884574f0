"""What two services of the Voice System or more need, and no rule of any one of them."""
