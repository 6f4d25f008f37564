"""One phone inventory for both engines: espeak-ng's phone names, and flite's mapped onto them."""

SILENCE, UNKNOWN = 0, -100

# The order is part of a checkpoint: the phone head's rows follow it.
NAMES = (
    "n t s I d k l r @ z E w D m a i: f aI eI 0 p V oU v 3 u: b i @2 I2 h j A@ a# T aU 3: g tS e@ r- N dZ O@ S o@ U O: O2 "
    "@L t# aa i@ i@3 I# A: U@"
).split()
# What German, French and Spanish add; multilingual models have rows for these too.
MORE_NAMES = (
    "e o u B ** O ts @- E~ y C A~ O~ W o: e: ; Z OY R x t2 a- Y z2 y- Q oI n^ eU R2 W~ y: E2 J^ E: l^ A pF tS; s; G 3 o~ "
    "oe OE: Y: U~ e~ z; ai au eI2 aI2 T2 D2"
).split()
MORE_NAMES = [name for k, name in enumerate(MORE_NAMES) if name not in NAMES + MORE_NAMES[:k]]
INDEX = {name: k + 1 for k, name in enumerate(NAMES + MORE_NAMES)}

FLITE = dict(
    pair.split("=")
    for pair in (
        "aa=A: ae=a ah=V ao=O: aw=aU ax=@ ay=aI b=b ch=tS d=d dh=D eh=E er=3: ey=eI f=f g=g hh=h ih=I iy=i: jh=dZ k=k l=l m=m "
        "n=n ng=N ow=oU p=p r=r s=s sh=S t=t th=T uh=U uw=u: v=v w=w y=j z=z"
    ).split()
)


def index(name: str, engine: str, known: int = len(NAMES)) -> int:
    """The label of a phone as its engine names it: `SILENCE`, 1 to `known`, or `UNKNOWN`."""
    if name.startswith("_"):
        return SILENCE
    label = INDEX.get(FLITE.get(name, name) if engine == "flite" else name, UNKNOWN)
    return label if label <= known else UNKNOWN
