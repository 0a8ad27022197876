"""What questions on a terminal look like, so that a password is typed to the right one and to no other.

No I/O here, and no regular expressions: `re` costs a relay 11 ms.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import FrozenSet, Sequence, Union

# What PAM calls a password where its messages are translated. What is started here is asked to speak English; a server
# that is logged in to may not.
PASSWORD_WORDS = frozenset(
    (
        "password,passcode,passwort,kennwort,mot de passe,contraseña,contrasenya,clave,palavra-passe,senha,parola,"
        "wachtwoord,adgangskode,lösenord,passord,salasana,hasło,heslo,jelszó,geslo,lozinka,лозинка,пароль,парола,"
        "κωδικός,şifre,סיסמה,رمز عبور,كلمة السر,密码,密碼,口令,パスワード,암호,비밀번호,mật khẩu,kata sandi,"
        "şifrə,pasvorto,parool,pasahitza,focal faire,ססמה,contrasigno,sandi,პაროლი,ពាក្យសម្ងាត់,parolă,iphasiwedi,"
        "গুপ্তশব্দ,পাসওয়ার্ড,પાસવર્ડ,शब्दकूट,गुप्तशब्द,ಗುಪ್ತಪದ,അടയാളവാക്ക്,ପ୍ରବେଶ ସଙ୍କେତ,ਪਾਸਵਰਡ,රහස්පදය,"
        "கடவுச்சொல்,సంకేతపదము"
    ).split(",")
)
# Questions of PAM about a password that is to be changed. To type the old one here might set it anew.
CHANGE_WORDS = ("new password", "current password", "old password", "(current) unix password", "retype new password")
EXPIRED = "The password has expired: log in by hand once and change it."

_ENDS = (":", "?", "：", "៖")


class Prompt:
    """A question: the last line on a terminal, which nothing has ended yet, and which ends in a colon.

    secret: what it asks for, `password`; "" for what nobody here answers. start: how the line begins. words: what may
    stand between that and its end; None for anything. has: must be in the line as well. advice: what to do if it can't
    be answered. is_each_line: the secret may be asked for again, if the line is another: for each of several keys.
    """

    __slots__ = ("advice", "has", "is_each_line", "secret", "start", "words")

    def __init__(
        self,
        secret: str,
        start: str,
        words: "Union[Sequence[str], FrozenSet[str], None]" = ("",),
        advice: str = "",
        is_each_line: bool = False,
        has: str = "",
    ) -> None:
        self.secret = secret
        self.start = start
        self.words = words
        self.advice = advice
        self.is_each_line = is_each_line
        self.has = has

    def matches(self, line: str) -> bool:
        """Return whether this line is the question."""
        line = line.rstrip()
        if not line.startswith(self.start) or not line.endswith(_ENDS) or self.has not in line:
            return False
        return self.words is None or line[len(self.start) : -1].strip().lower() in self.words


def printable(line: bytes) -> str:
    """Return the line as text, what isn't printable escaped: a far side mustn't steer the user's terminal with it."""
    text = line.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
