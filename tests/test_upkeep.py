"""What upkeep takes from a model's answer: only what the conversation bears out."""

from datetime import date

import pytest

from memtrix_as.agent.upkeep import borne_out, read
from memtrix_as.db.upkeep import Line, common

DAY = date(2026, 5, 1)


def line(number: int, speaker: str, text: str, *people: str) -> Line:
    return Line(number, DAY, speaker, text, f"${number}", people or ("@ann:hs.test",))


SAID = [
    line(11, "Ann", "Ann: We sail on 14 June with Nessie, the boat of my brother Jan."),
    line(12, "Memtrix", "Shall I look for a berth in Flensburg?"),
    line(13, "Ann", "Yes, and it may cost 40 euros a night."),
]


def test_entries_name_their_messages() -> None:
    answer = (
        "Here is the journal:\n"
        "Decisions: Ann sails on 14 June with Nessie [1]\n"
        "- **Tasks:** Look for a berth in Flensburg for 40 euros a night. [#2, 3]\n"
        "Gossip: Nessie is the boat of Jan, Ann's brother [1-2].\n"
    )
    entries = read(answer, SAID)
    assert [(e.section, [each.id for each in e.lines]) for e in entries] == [
        ("Decisions", [11]),
        ("Tasks", [12, 13]),
        ("Notes", [11, 12]),
    ]
    assert entries[1].text == "Look for a berth in Flensburg for 40 euros a night."


@pytest.mark.parametrize(
    "answer",
    [
        "nothing",
        "",
        "Learned: Ann sails with Nessie",  # names no message
        "Learned: Ann sails with Nessie [7]",  # one that is not there
        "Learned: Ann sails with Nessie [2]",  # one that does not say it
        "Learned: Ann sails on 15 June with Nessie [1]",
        "Learned: Ann sails on 14 June with Nessie and Peter [1]",
        "Learned: Ann is afraid of deep water and sharks [1]",
        "[1] Ann: We sail on 14 June",
        "Learned: Ann sails [999999999999]",
        "Learned: [1]",
    ],
)
def test_what_is_not_borne_out_is_left_out(answer: str) -> None:
    assert read(answer, SAID) == []


def test_other_languages() -> None:
    said = [line(1, "Jan", "Wir treffen uns am Freitag um 18 Uhr am Bootshaus in Kappeln.")]
    assert borne_out("Treffen am Freitag um 18 Uhr am Bootshaus in Kappeln", said)
    assert not borne_out("Treffen am Freitag um 18 Uhr am Bahnhof in Kappeln", said)
    assert borne_out("金曜日に会う", [line(1, "Jan", "金曜日に会おう。")])


def test_only_who_heard_all_of_it_may_know() -> None:
    assert common([("@a:x", "@b:x"), ("@b:x", "@c:x")]) == ("@b:x",)
    assert common([]) == ()
