"""Characters that look like a Latin letter, for moderation alone: a compact table after the facts of Unicode's confusables.

What compatibility normalisation folds by itself (full width, mathematical, circled, super- and subscript letters, ligatures)
is not repeated here. Case matters where the two cases look like different letters (capital eta is an H, small eta an n).
"""

from __future__ import annotations

from typing import Final

_BY_LETTER: Final = {
    # Cyrillic, Greek, Armenian, Cherokee, Lisu-like and phonetic letters, small capitals, letters with strokes.
    "a": "аАαΑɑɐᴀᎪꓮⱥȺ",
    "b": "вВьЬЪъβΒʙᏼᏴɓƀƃɃꓐƄƅ",
    "c": "сСϲϹᴄᏟꓚȼȻƈɕⅽↄ",
    "d": "ԁԀᴅᎠꓓđĐɖɗðÐꮷժ",
    "e": "еЕєЄεΕҽᴇᎬꓰɛəǝɘɇɆ\u212eҿз\u0417",
    "f": "ƒꜰꓝϝϜꞙſẝ",
    "g": "ɡԍԌɢᏀꓖցǥǤɠʛ",
    "h": "нНһҺΗʜᎻꓧհħĦɦҺ",
    "i": "іІιΙıɪᎥꓲɩӀӏɨƗΪǀ",
    "j": "јЈϳͿᴊᎫꓙյɉɈȷʝ",
    "k": "кКκΚᴋᏦꓗҝқҡƙҟӄ",
    "l": "ʟᏞꓡłŁɫƖƚɭ",
    "m": "мМΜᴍᎷꓟɱϻϺӎ",
    "n": "пПηΝɴꓠոռɲƞŋɳҥӆ",
    "o": "оОοΟσσςᴏꓳօՕøØɵөӨѳѲ᧐ⵔഠ௦ⲟ",
    "p": "рРρΡᴘᏢꓑƿƥϱ",
    "q": "ԛԚզգɋ",
    "r": "гГʀᎡꓣяЯɍɌɾɹᴦ",
    "s": "ѕЅꜱᏚꓢʂƨՏ",
    "t": "тТτΤᴛᎢꓔŧŦƭʈƫ",
    "u": "ʋυսՍᴜꓴʉɄʊµμцЦ",
    "v": "νѵѴᴠᏙꓦטΛʌ",
    "w": "ωѡѠԝԜᴡᏔꓪɯшШщЩաɰ",
    "x": "хХχΧᕽꓫҳӽӿ",
    "y": "уУγΥҮүᴠʏᎽꓬɏɎұўυ",
    "z": "ΖᴢᏃꓜƶƵȥʐʑ",
}

_WHOLE: Final = {"æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe", "ю": "io", "Ю": "io", "þ": "th", "Þ": "th", "ы": "bi", "Ы": "bi"}


def _ranges() -> dict[str, str]:
    """Alphabets that stand in one block but have no compatibility decomposition: regional indicators and boxed letters."""
    starts = (0x1F1E6, 0x1F150, 0x1F170)
    return {chr(start + offset): chr(ord("a") + offset) for start in starts for offset in range(26)}


def _table() -> dict[str, str]:
    table: dict[str, str] = {}
    for letter, alike in _BY_LETTER.items():
        for character in alike:
            table.setdefault(character, letter)
    return table | _WHOLE | _ranges()


LOOKALIKES: Final[dict[str, str]] = _table()
"""One character to the lower-case Latin letters it is read as."""
