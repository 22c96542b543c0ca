"""How well the choice model stands in for a language model, asked on a sample of its decisions."""
