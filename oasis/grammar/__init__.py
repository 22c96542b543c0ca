"""What agents without a language model write: short English texts from a seeded grammar, in batches."""

from oasis.grammar.phrases import TOPICS
from oasis.grammar.texts import write_bios, write_posts, write_replies
from oasis.grammar.topics import guess_topics

__all__ = ["TOPICS", "guess_topics", "write_bios", "write_posts", "write_replies"]
