"""Every line of the function to where people look for it."""
