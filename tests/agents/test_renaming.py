"""Names that stand as others: found in every form, given back exactly, refused where they could not be told apart."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.agents.llm import LLM
from oasis.agents.prompting.renaming import MOST_NAMES, Renaming
from oasis.errors import InputError, ScenarioError

NAMES = {
    "Whole Foods": "Green Barn",
    "Whole Foods Market": "Green Barn Traders",
    "Amazon": "Norvex",
    "Jeff Bezos": "Martin Hale",
    "Bezos": "Hale",
    "IBM": "QRS",
    "#StopTheDeal": "#EndThisPact",
    "Straße": "Gasse",
    "Beyoncé": "Solará",
    "McDonald's": "Burrow's",
    "亚马逊": "诺维",
    "아마존": "노벡스",
    "İstanbul": "Mirvan",
    "Jean-Luc Picard": "Max Anton Muster",
}
RENAMING = Renaming(NAMES)
CASES = [
    ("Amazon, amazon and AMAZON", "Norvex, norvex and NORVEX"),
    ("AmAzOn", "Norvex"),
    ("Amazonian amazons preamazon #dumpamazon ibmer", "Amazonian amazons preamazon #dumpamazon ibmer"),
    ("#BoycottAmazon2017 AmazonNews USAmazon 24amazon7", "#BoycottNorvex2017 NorvexNews USNorvex 24norvex7"),
    ("#LoveWholeFoods #IBMNews myIBM IBMs", "#LoveGreenBarn #QRSNews myQRS IBMs"),
    ("Amazon's (Amazon) Amazon. amazon.com/x www.amazon.com", "Norvex's (Norvex) Norvex. norvex.com/x www.norvex.com"),
    ("#Amazon @amazon amazon_fan the_AMAZON", "#Norvex @norvex norvex_fan the_NORVEX"),
    ("Whole Foods Market and Whole Foods", "Green Barn Traders and Green Barn"),
    ("#WholeFoods @whole_foods whole-foods WHOLEFOODS", "#GreenBarn @green_barn green-barn GREENBARN"),
    ("Whole\u00a0Foods", "Green\u00a0Barn"),
    ("Jeff Bezos or Bezos", "Martin Hale or Hale"),
    ("IBM ibm", "QRS qrs"),
    ("#stopthedeal StopTheDeal", "#endthispact EndThisPact"),
    ("Straße STRASSE strasse", "Gasse GASSE gasse"),
    ("Beyoncé Beyonce\u0301 BEYONCE\u0301 Beyonce", "Solará Solará SOLARÁ Beyonce"),
    ("McDonald's McDonald\u2019s", "Burrow's Burrow's"),
    ("我在亚马逊买书, 在Amazon也买", "我在诺维买书, 在Norvex也买"),
    ("아마존은 크다", "노벡스은 크다"),
    ("İstanbul", "Mirvan"),
    ("jean-luc picard Jean Luc Picard", "max anton muster Max Anton Muster"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_a_name_is_found_in_every_form_and_as_whole_words(text: str, expected: str) -> None:
    assert RENAMING.forward(text) == expected
    assert RENAMING.forward(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Norvex, norvex, NORVEX #GreenBarn green_barn", "Amazon, amazon, AMAZON #WholeFoods whole_foods"),
        ("Martin Hale or Hale", "Jeff Bezos or Bezos"),
        ("Green Barn Traders", "Whole Foods Market"),
        ("Amazon", "Amazon"),  # what a model writes of its own accord stays
    ],
)
def test_what_a_model_writes_has_the_names_again(text: str, expected: str) -> None:
    assert RENAMING.inverse(text) == expected


def test_a_name_of_one_word_for_one_of_two_is_joined_where_no_space_can_be() -> None:
    one = Renaming({"Amazon": "River Goods", "Whole Foods": "Greenly"})
    text = "#Amazon @amazon_fan amazon.com Amazon; #WholeFoods and Whole Foods #MyWholeFoods #AmazonNow"
    there = "#RiverGoods @rivergoods_fan rivergoods.com River Goods; #Greenly and Greenly #MyGreenly #RiverGoodsNow"
    assert one.forward(text) == there
    assert one.inverse(one.forward(text)) == text


_words = st.sampled_from(
    ["Amazon", "amazon", "AMAZON", "Whole Foods", "WHOLE FOODS", "whole_foods", "#WholeFoods", "Whole Foods Market"]
    + [
        "Jeff Bezos",
        "bezos",
        "BEZOS",
        "IBM",
        "ibm",
        "StopTheDeal",
        "Beyoncé",
        "BEYONCÉ",
        "亚马逊",
        "buys",
        "2017",
        "é",
        "Buys",
        "BUYS",
    ]
)
_between = st.sampled_from([" ", " ", "\n", ", ", "'s ", " #", " @", "/", "_", '"', ". ", "-", "\u2014", "", "\u0301"])


@given(st.lists(st.tuples(_words, _between), max_size=12))
def test_there_and_back_is_the_same_text(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + between for word, between in parts)
    there = RENAMING.forward(text)
    assert RENAMING.inverse(there) == text
    assert RENAMING.forward(there) == there


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_texts_without_names_stay_as_they_are(text: str) -> None:
    there = RENAMING.forward(text)
    assert RENAMING.inverse(there) == text


_letters = st.text(st.sampled_from("bcdfgklmnprstvz"), min_size=4, max_size=9).map(str.capitalize)


@given(st.lists(_letters, min_size=2, max_size=10, unique=True), st.data())
def test_any_table_that_is_taken_goes_there_and_back(words: list[str], data: st.DataObject) -> None:
    half = len(words) // 2
    names = dict(zip(words[:half], words[half : 2 * half], strict=True))
    renaming = Renaming(names)
    forms = [form for name in names for form in (name, name.upper(), name.lower(), f"#{name}", f"{name}'s")]
    text = " ".join(data.draw(st.lists(st.sampled_from([*forms, "xyq", "(xyq)"]), max_size=15)))
    there = renaming.forward(text)
    assert renaming.inverse(there) == text
    for name in names:
        assert name.lower() not in there.lower().replace("#", " ").replace("'", " ").split()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"Amazon": ""}, "substitute '' of 'Amazon' is empty"),
        ({"": "Norvex"}, "name '' is empty"),
        ({"Amazon": "#"}, "is empty: it holds no letter"),
        ({"Whole Foods": "Barn", "whole-foods": "Farm"}, "same name, for capitals, spaces and hyphens do not count"),
        ({"Amazon": "Norvex", "Apple": "NORVEX"}, "'Apple' and 'Amazon' both become 'NORVEX'"),
        ({"Amazon": "Apple", "Apple": "Norvex"}, "substitute 'Apple' of 'Amazon' holds the name 'Apple'"),
        ({"Amazon": "Apple", "Apple": "Amazon"}, "substitute 'Apple' of 'Amazon' holds the name 'Apple'"),
        ({"Amazon": "Amazon Two"}, "holds the name 'Amazon'"),
        ({"Green Barn": "Norvex", "Whole": "Barn"}, "name 'Green Barn' holds the substitute 'Barn'"),
        ({"Ab": "Red", "Cd": "Fox", "Ef": "Red Fox"}, "'Red' and 'Fox' side by side are read as another"),
        ({"Amazon": "a<b"}, "holds what prompts do not show"),
        ({"Amazon": "content"}, "'content' of 'Amazon' is a word of the form of answers"),
        ({"Amazon": "x" * 101}, "more than 100 characters"),
        ({f"Name{i}n": f"Other{i}n" for i in range(MOST_NAMES + 1)}, "at most 100"),
    ],
)
def test_what_is_no_bijection_is_refused(names: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Renaming(names)
    with pytest.raises(ScenarioError, match=rf"(?s)rename: .*{words}"):
        LLM.from_parameters({"rename": names})


def test_parts_of_a_name_may_have_the_parts_of_its_substitute() -> None:
    parts = Renaming({"Jeff Bezos": "Martin Hale", "Jeff": "Martin", "Bezos": "Hale"})
    assert parts.forward("Jeff Bezos, Jeff; Bezos") == "Martin Hale, Martin; Hale"
    assert parts.inverse("Martin Hale, Martin; Hale") == "Jeff Bezos, Jeff; Bezos"


def test_substitutes_that_are_in_texts_already_are_found_as_whole_words() -> None:
    def check(*texts: str | None) -> None:
        RENAMING.check_absent(pa.chunked_array([[], list(texts)], pa.large_string()), "a text")

    check("the norvexian", None, "greenbarns", "Solara")
    check()
    Renaming({}).check_absent(pa.array(["Norvex"]), "a text")
    for text, which in (("a #GREENBARN day", "Green Barn"), ("Solara\u0301", "Solará"), ("我爱诺维的书", "诺维")):
        with pytest.raises(InputError, match=f"substitute '{which}' is in a text already"):
            check("nothing", text)


def test_without_names_nothing_happens() -> None:
    none = Renaming({})
    text = "a  b\u200b <x>"
    assert not none
    assert none.forward(text) is none.inverse(text) is text
    assert none.shown([text, None]) == [text, None]
    assert RENAMING.shown(["Ama\u200bzon\n buys", None, ""]) == ["Norvex buys", None, ""]
