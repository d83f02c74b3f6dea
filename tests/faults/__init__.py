"""The fault scorecard: each row injects its fault for real, and has a control that must fail."""
