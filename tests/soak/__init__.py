"""A history checker in the manner of Jepsen: clients, a seeded schedule of faults, and what must hold all the while."""
