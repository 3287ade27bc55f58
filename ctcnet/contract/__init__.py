"""What every exported file says of itself, and how that is checked: instruments rely on it for years."""
