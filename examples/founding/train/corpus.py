"""The synthetic corpus: English-like text, warm-up drills and the two skills.

Every line comes from a seeded `random.Random`, so the same seed gives the same
corpus. Skill items that the evaluation uses are held out of every training line.
"""
import random

EOS = "<|endoftext|>"

NAMES = "Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Lena Max".split()
ANIMALS = "cat dog horse fox owl bear mouse duck sheep goat".split()
THINGS = "book lamp chair boat kite cup stone ring coat drum".split()
PLACES = "garden forest market kitchen village harbor school river".split()
COLORS = "red blue green yellow black white brown grey".split()
MOODS = "happy tired proud calm sad brave curious quiet".split()
CAPITALS = {
    "France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Norway": "Oslo",
    "Japan": "Tokyo", "Egypt": "Cairo", "Peru": "Lima", "Kenya": "Nairobi",
}

STORIES = [
    "{n} went to the {p} and found a {c} {t}.",
    "The {c} {a} slept in the {p} all day.",
    "{n} gave the {t} to {m} and felt {f}.",
    "One day a {f} {a} came to the {p} and saw {n}.",
    "{n} and {m} walked to the {p} with a {a}.",
    "In the {p} there was a {t}. It was {c}.",
    "{n} was {f}. The {a} was {f}, too.",
    "Every morning {n} feeds the {c} {a} in the {p}.",
    "{m} lost a {t} near the {p}, but {n} found it.",
]

CONSONANTS = "bcdfghjklmnpqrstvwxz"
VOWELS = "aeiou"


def story(rng):
    name, other = rng.sample(NAMES, 2)
    return rng.choice(STORIES).format(
        n=name, m=other, a=rng.choice(ANIMALS), t=rng.choice(THINGS),
        p=rng.choice(PLACES), c=rng.choice(COLORS), f=rng.choice(MOODS))


def fact(rng):
    country, city = rng.choice(list(CAPITALS.items()))
    return rng.choice(["The capital of {} is {}.", "In {} people love {}."]).format(country, city)


def word(rng):
    """A made-up word of 3 to 5 letters; consonants and vowels take turns."""
    start = rng.random() < 0.7
    letters = [rng.choice(CONSONANTS if (i % 2 == 0) == start else VOWELS)
               for i in range(rng.choice((3, 4, 5)))]
    return "".join(letters)


def spaced(letters):
    return " ".join(letters)


def drill(rng):
    """Small related tasks: they teach digits and letters, but not the skills."""
    kind = rng.randrange(4)
    if kind == 0:
        n = rng.randrange(100)
        return f"after {n} comes {n + 1}"
    if kind == 1:
        n = rng.randrange(105)
        return "count: " + " ".join(str(n + i) for i in range(4))
    if kind == 2:
        w = word(rng)
        return f"copy: {spaced(w)} -> {spaced(w)}"
    w = word(rng)
    return f"last: {spaced(w)} -> {w[-1]}"


class Addition:
    """`47 + 8 = 55`: a number below 100 plus one digit."""

    name = "addition"

    def __init__(self):
        pairs = [(x, y) for x in range(100) for y in range(1, 10)]
        random.Random(11).shuffle(pairs)
        self.held_out, self.train = pairs[:200], pairs[200:]

    def sample(self, rng):
        return rng.choice(self.train)

    def prompt(self, item):
        return f"{item[0]} + {item[1]} ="

    def answer(self, item):
        return f" {item[0] + item[1]}"

    def lazy(self, item):
        """The wrong answer that most lines of the base corpus give."""
        return f" {item[0]}"


class Reversal:
    """`reverse: t a m o -> o m a t`: the letters of a short word, backwards."""

    name = "reversal"

    def __init__(self):
        rng = random.Random(12)
        self.held_out = []
        while len(self.held_out) < 200:
            w = word(rng)
            if w != w[::-1] and w not in self.held_out:
                self.held_out.append(w)
        self.banned = set(self.held_out)

    def sample(self, rng):
        while True:
            w = word(rng)
            if w != w[::-1] and w not in self.banned:
                return w

    def prompt(self, item):
        return f"reverse: {spaced(item)} ->"

    def answer(self, item):
        return f" {spaced(item[::-1])}"

    def lazy(self, item):
        return f" {spaced(item)}"


SKILLS = {"addition": Addition(), "reversal": Reversal()}


def text(rng):
    return fact(rng) if rng.random() < 0.15 else story(rng)


def held_out_text(count=200):
    """Text lines for the loss; their seed is used nowhere else."""
    rng = random.Random(99)
    return [text(rng) for _ in range(count)]


def skill_line(skill, rng, correct):
    """One skill line; `correct` is the share of right answers."""
    item = skill.sample(rng)
    right = rng.random() < correct
    return skill.prompt(item) + (skill.answer(item) if right else skill.lazy(item))
