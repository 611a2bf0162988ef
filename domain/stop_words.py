"""Words that say how is asked and not what, in seven languages, in lower case without accents.

They are kept apart by language: an English question about a war must not lose the word to German, where it means "was".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

_ENGLISH = """
a about after all also am an and any are as at be because been before being between but by can could did do does doing
don for from had has have having he her here him his how i if in into is it its just like ll may me might more most
must my no not now of on one only or other our out over please re said say says shall she should show so some such
tell than that the their them then there these they this those to too under up us ve very was we were what when where
which while who whom whose why will with would you your
describe explain far find get give happen happens happened kind know list long many mean means much need often take takes use used
"""
_GERMAN = """
aber alle als am an auch auf aus bei bin bis bist da damit das dass dein dem den der des die dies diese dieser dieses
doch du durch ein eine einem einen einer eines er es fur gib hat hatte ich ihr im in ist ja kann kein keine konnen man
mein mich mir mit nach nicht noch nur oder ob sage schon sein seine sich sie sind so uber um und uns von vor wann war
waren warum was welche welcher welches wenn wer werden wie wieder wird wo zu zum zur
bekomme brauche dauert dauern erklare gehort gibt heissen heisst lang lange oft viel viele weiss wohin woher wofur welchen welchem
"""
_FRENCH = """
au aux avec ce ces cette comme comment dans de des dit donc dont du elle elles en est et etait etre eux il ils je la
le les leur lui ma mais me mes moi mon ne nos notre nous on ou par pas pour pourquoi quand que quel quelle quelles
quels qui quoi sa sans ses son sont sur ta te tes toi ton tu un une vos votre vous y
combien dis dure explique faire fait faut longtemps peut peux souvent
"""
_SPANISH = """
al como con cual cuales cuando cuanto de del donde el ella ellos en era es esa ese eso esta este esto fue ha hay la
las lo los mas mi muy nos o para pero por porque que quien se ser si sin sobre son su sus tambien te tiene un una uno
y ya yo
cuanta cuantas cuantos dime dura explica hace hacer hay puede puedo tarda
"""
_ITALIAN = """
che chi ci come con cosa da dal dalla dei del della delle di dove e ed gli ha hanno i il in io la le lei lo loro lui
ma mi nel nella non o per perche piu quale quali quando quanto quello questa questo se si sono sono su sul sulla tra
tu un una uno voi
dimmi dura fare puo posso quanta quante quanti spiega
"""
_PORTUGUESE = """
ao aos as com da das de do dos e ela ele em entre era essa esse esta este foi isso mais mas me meu na nao nas no nos o
onde os ou para pela pelo por qual quais quando que quem sao se sem ser seu sua tem um uma voce
diga dura explica fazer leva pode posso quanta quantas quanto quantos
"""
_DUTCH = """
aan als bij dan dat de deze die dit een en er geen had heb heeft het hij hoe ik in is je kan maar me met mijn naar
niet nog nu of om onder ook op over te tot uit van veel voor waar wanneer waren wat welke wie wij worden zal ze zich
zijn zo
duurt hoeveel krijg leg lang moet nodig vaak vertel veel
"""

_LANGUAGES: Final = tuple(
    frozenset(words.split()) for words in (_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE, _DUTCH)
)


def stop_words(words: Collection[str]) -> frozenset[str]:
    """Those of the language that most of the words are common in; English when none is."""
    return max(_LANGUAGES, key=lambda language: sum(word in language for word in words))
