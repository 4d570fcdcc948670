"""Write findings and facts as text to a file or terminal."""
