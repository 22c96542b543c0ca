"""The schema of every table of a social platform, once.

Ids are int32 row numbers, -1 is "none". Texts are ids into the text pool. `key` is the stable 64-bit
key that draws are made from. Counters count what agents did here; what was there before the run
stands apart in `base_*`, and what users see is the sum.
"""

from __future__ import annotations

import pyarrow as pa

__all__ = [
    "COMMENTS",
    "COMMENT_REACTIONS",
    "COMMUNITIES",
    "FOLLOWS",
    "GROUPS",
    "GROUP_MEMBERS",
    "KIND_ORIGINAL",
    "KIND_QUOTE",
    "KIND_REPOST",
    "MESSAGES",
    "MUTES",
    "POSTS",
    "POST_KINDS",
    "POST_REACTIONS",
    "PRODUCTS",
    "PURCHASES",
    "REPORTS",
    "REPOSTS",
    "SOCIAL_RELATIONS",
    "SOCIAL_TABLES",
    "UNKNOWN_VERACITY",
    "USERS",
]

KIND_ORIGINAL, KIND_REPOST, KIND_QUOTE = 0, 1, 2
POST_KINDS = ("original", "repost", "quote")
UNKNOWN_VERACITY = -1


def _id(name: str) -> pa.Field:
    return pa.field(name, pa.int32(), metadata={"default": "-1"})


def _count(name: str) -> pa.Field:
    return pa.field(name, pa.int32())


USERS = pa.schema(
    [
        pa.field("key", pa.uint64()),
        _id("username"),
        _id("name"),
        _id("bio"),
        _id("persona"),
        _id("group"),
        pa.field("stance", pa.float32(), metadata={"default": "nan"}),
        pa.field("activity", pa.list_(pa.float32(), 24)),
        _count("followers"),
        _count("following"),
        _count("base_followers"),
        _count("posts"),  # posts, reposts and quotes written
        _id("last_post"),  # head of the list posts.previous_by_author
        _id("policy"),
        _count("joined_step"),
        pa.field("banned", pa.bool_()),
    ]
)
POSTS = pa.schema(
    [
        pa.field("key", pa.uint64()),
        _id("author"),
        pa.field("kind", pa.int8()),
        _id("root"),  # the original; itself for an original
        _id("parent"),  # the post that was shown to the reposter or quoter; -1 for an original
        _id("community"),
        _count("step"),
        _id("text"),
        _count("likes"),
        _count("dislikes"),
        _count("reposts"),
        _count("quotes"),
        _count("comments"),
        _count("reports"),
        _count("base_likes"),
        _count("base_dislikes"),
        _id("topic"),
        pa.field("veracity", pa.int8(), metadata={"default": str(UNKNOWN_VERACITY)}),  # 1 true, 0 false
        _id("label"),
        pa.field("hidden", pa.bool_()),
        pa.field("weight", pa.float32(), metadata={"default": "1"}),  # demotion multiplies scores by it
        _id("previous_by_author"),
        _id("last_comment"),  # head of the list comments.previous_on_post
    ]
)
COMMENTS = pa.schema(
    [
        pa.field("key", pa.uint64()),
        _id("post"),
        _id("parent"),
        _id("author"),
        _count("step"),
        _id("text"),
        _count("likes"),
        _count("dislikes"),
        _count("base_likes"),
        _count("base_dislikes"),
        pa.field("hidden", pa.bool_()),
        _id("previous_on_post"),
    ]
)
COMMUNITIES = pa.schema([_id("name")])
GROUPS = pa.schema(
    [
        _id("name"),
        _id("creator"),
        _count("step"),
        _count("members"),
        _id("last_message"),  # head of the list messages.previous_in_group
    ]
)
MESSAGES = pa.schema([_id("group"), _id("author"), _count("step"), _id("text"), _id("previous_in_group")])
PRODUCTS = pa.schema([_id("text"), _id("seller"), pa.field("price", pa.float64()), _id("stock"), _count("sold")])
PURCHASES = pa.schema([_id("agent"), _id("product"), _count("step")])


def _pairs(a: str, b: str, value: str = "step") -> pa.Schema:
    return pa.schema([(a, pa.int32()), (b, pa.int32()), (value, pa.int32())])


FOLLOWS = _pairs("follower_id", "followee_id")
MUTES = _pairs("muter_id", "muted_id")
POST_REACTIONS = _pairs("agent_id", "post_id", "vote")  # +1 like, -1 dislike; always on the root
COMMENT_REACTIONS = _pairs("agent_id", "comment_id", "vote")
REPOSTS = _pairs("agent_id", "root_id", "post_id")
REPORTS = _pairs("agent_id", "post_id")
GROUP_MEMBERS = _pairs("group_id", "agent_id")

SOCIAL_TABLES: dict[str, pa.Schema] = {
    "posts": POSTS,
    "comments": COMMENTS,
    "communities": COMMUNITIES,
    "groups": GROUPS,
    "messages": MESSAGES,
    "products": PRODUCTS,
    "purchases": PURCHASES,
}
SOCIAL_RELATIONS: dict[str, pa.Schema] = {
    "mutes": MUTES,
    "post_reactions": POST_REACTIONS,
    "comment_reactions": COMMENT_REACTIONS,
    "reposts": REPOSTS,
    "reports": REPORTS,
    "group_members": GROUP_MEMBERS,
}
