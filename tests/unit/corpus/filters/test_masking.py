import random
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from megatron_codemix.corpus.filters.keys import PREFIXES
from megatron_codemix.corpus.filters.masking import Mask
from megatron_codemix.corpus.filters.rule import Changed, Drop
from tests.helpers.filter_documents import document, real_texts

RULE = Mask()


def masked(text: str, rule: Mask = RULE) -> str:
    done = rule.masked(text)
    assert done is not None
    return done[0]


def drawn(characters: str, count: int, seed: int = 0) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice(characters) for _ in range(count))


LETTERS_DIGITS = string.ascii_letters + string.digits
UPPER_DIGITS = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jane Doe <jane.doe+list@mail.company.co.uk>, 2019", "Jane Doe <<EMAIL>>, 2019"),
        ("mailto:a_b%c@x-y.org?subject=1", "mailto:<EMAIL>?subject=1"),
        ("Write to joe@company.com. Then wait.", "Write to <EMAIL>. Then wait."),
        ("Write to joe@company.com.Then wait.", "Write to <EMAIL>.Then wait."),
        ("(JOE@COMPANY.IO)", "(<EMAIL>)"),
        ("caf\u00e9 a@b.fr \u4e2d c@d.de", "caf\u00e9 <EMAIL> \u4e2d <EMAIL>"),
        ("a@b.com,c@d.org;e@f.net", "<EMAIL>,<EMAIL>;<EMAIL>"),
    ],
)
def test_masks_email_addresses(text, expected):
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com admin@mail.example.org x@y.test root@localhost",
        "git clone git@github.com:owner/name.git",
        "12345+name@users.noreply.github.com",
        "npm install react@16.8.0 @types/node lodash@latest",
        "@property\ndef f(self): return a @ b, x@y.shape, m@n.T",
        "x = attn@v.to(dtype) + q@k.mean(0)",
        "background@2x.png",
        "a@b",
        "a@b.in_range c@d.com_suffix",
    ],
)
def test_leaves_what_is_no_address_of_somebody(text):
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ping 54.123.4.56", "ping <IP_ADDRESS>"),
        ("http://93.184.216.34:8080/x", "http://<IP_ADDRESS>:8080/x"),
        ("From 203.0.114.9.", "From <IP_ADDRESS>."),
        ("host=91.198.174.192;", "host=<IP_ADDRESS>;"),
        ("[2a00:1450:4001:81b::200e]:443", "[<IP_ADDRESS>]:443"),
        ("2600:1f16:0115:0200:0001:0002:0003:0004/64", "<IP_ADDRESS>/64"),
    ],
)
def test_masks_public_network_addresses(text, expected):
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 0.0.0.0 255.255.255.0 10.1.2.3 172.16.0.9 192.168.1.254 169.254.1.1 100.64.0.1",
        "192.0.2.44 198.51.100.7 203.0.113.9 224.0.0.251 240.0.0.1",
        "nameserver 8.8.8.8\nnameserver 1.1.1.1",
        "300.123.4.56 54.123.4.999 54.123.04.56",
        "2001:db8::1 fe80::1 ::1 fd00:1234::1 ff02::1 2001:4860:4860::8888",
        "x[2::] y[3::2] at 20:15:30, 2026:11:22 std::dec 2a::b",
    ],
)
def test_leaves_addresses_that_are_nobodys(text):
    assert masked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "version = 54.123.4.56",
        '"version": "120.0.6099.109",',
        'AssemblyVersion("91.198.174.192")',
        "Chrome-120.0.6099.109",
        "tool==54.123.4.56",
        "tool >= 54.123.4.56",
        "release 54.123.4.56 is out",
        "see section 54.123.4.56",
        "v54.123.4.56 54.123.4.56.7 54.123.4.56-beta 54.123.4.56.tar.gz 54.123.4.56rc1",
        "1.2.3.4 and [3.3.2.4] and 2.2.1.41. Unix",
    ],
)
def test_leaves_versions_and_sections(text):
    assert masked(text) == text


def test_a_word_that_only_holds_version_is_none():
    assert masked("the conversion at 54.123.4.56") == "the conversion at <IP_ADDRESS>"
    assert masked("version 2\n54.123.4.56") == "version 2\n<IP_ADDRESS>"


SERVICE_KEYS = {
    "AWS": "AKIA" + drawn(UPPER_DIGITS, 16),
    "AWS session": "ASIA" + drawn(UPPER_DIGITS, 16),
    "GitHub": "ghp_" + drawn(LETTERS_DIGITS, 36),
    "GitHub server": "ghs_" + drawn(LETTERS_DIGITS, 36),
    "GitHub fine": f"github_pat_{drawn(LETTERS_DIGITS, 22)}_{drawn(LETTERS_DIGITS, 59)}",
    "GitLab": "glpat-" + drawn(LETTERS_DIGITS, 20),
    "Slack bot": f"xoxb-729384615028-6150284739182-{drawn(LETTERS_DIGITS, 24)}",
    "Slack hook": f"hooks.slack.com/services/T{drawn(UPPER_DIGITS, 8)}/B{drawn(UPPER_DIGITS, 8)}/"
    + drawn(LETTERS_DIGITS, 24),
    "Google": "AIza" + drawn(LETTERS_DIGITS + "_-", 35),
    "Google secret": "GOCSPX-" + drawn(LETTERS_DIGITS, 28),
    "Google OAuth": "ya29." + drawn(LETTERS_DIGITS, 60),
    "Stripe": "sk_live_" + drawn(LETTERS_DIGITS, 24),
    "OpenAI": "sk-" + drawn(LETTERS_DIGITS, 48),
    "OpenAI project": "sk-proj-" + drawn(LETTERS_DIGITS + "-_", 100) + "a",
    "Hugging Face": "hf_" + drawn(string.ascii_letters, 34),
    "npm": "npm_" + drawn(LETTERS_DIGITS, 36),
    "PyPI": "pypi-AgEIcHlwaS5vcmc" + drawn(LETTERS_DIGITS, 80),
    "SendGrid": f"SG.{drawn(LETTERS_DIGITS, 22)}.{drawn(LETTERS_DIGITS, 43)}",
    "JWT": f"eyJhbGciOiJIUzI1NiJ9.eyJ{drawn(LETTERS_DIGITS, 30)}.{drawn(LETTERS_DIGITS, 43)}",
}


@pytest.mark.parametrize("service", SERVICE_KEYS)
def test_masks_the_keys_of_services(service):
    key = SERVICE_KEYS[service]
    assert masked(f'use("{key}") # or {key}\n') == 'use("<KEY>") # or <KEY>\n'
    assert masked(f"x{key}") == f"x{key}" or service == "Slack hook"  # the end of something longer


PRIVATE_KEY = "\n".join(
    ["-----BEGIN RSA PRIVATE KEY-----"]
    + [drawn(LETTERS_DIGITS + "+/", 64, seed) for seed in range(12)]
    + [drawn(LETTERS_DIGITS, 20) + "==", "-----END RSA PRIVATE KEY-----"]
)


ENCRYPTED_KEY = PRIVATE_KEY.replace(
    "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A1B2C3D\n\n", 1
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a\n{PRIVATE_KEY}\nb", "a\n<KEY>\nb"),
        ('key = "' + PRIVATE_KEY.replace("\n", "\\n") + '"', 'key = "<KEY>"'),
        (PRIVATE_KEY.replace("RSA ", "OPENSSH ") + "\n", "<KEY>\n"),
        (PRIVATE_KEY.replace(" KEY-", " KEY BLOCK-").replace("RSA", "PGP"), "<KEY>"),
        (PRIVATE_KEY[:400] + "\n\n(cut off)", "<KEY>\n\n(cut off)"),
        (ENCRYPTED_KEY, "<KEY>"),
        (ENCRYPTED_KEY[:400] + "\n\n(cut off)", "<KEY>\n\n(cut off)"),
        (PRIVATE_KEY + "\n" + PRIVATE_KEY, "<KEY>\n<KEY>"),
    ],
)
def test_masks_private_keys(text, expected):
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        'if line.startswith("-----BEGIN PRIVATE KEY-----"): read("-----END PRIVATE KEY-----")',
        PRIVATE_KEY.replace("PRIVATE", "PUBLIC"),
        "AKIAIOSFODNN7EXAMPLE and AKIA123",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ghp_short",
        "sk-toggleable__label-arrow sk-estimator-doc-link-with-a-long-name",
        "hf_hub_download_from_the_hub_with_cache",
    ],
)
def test_leaves_names_and_examples_of_keys(text):
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SECRET_KEY = '{}'", "SECRET_KEY = '<KEY>'"),
        ('"api_key": "{}",', '"api_key": "<KEY>",'),
        ("export DB_PASSWORD={}", "export DB_PASSWORD=<KEY>"),
        ('config["access_token"] = "{}"', 'config["access_token"] = "<KEY>"'),
        ("clientSecret: {}", "clientSecret: <KEY>"),
        ("Authorization: Bearer {}", "Authorization: Bearer <KEY>"),
        ("&access_token={}&x=1", "&access_token=<KEY>&x=1"),
        ("private_key => '{}'", "private_key => '<KEY>'"),
    ],
)
def test_masks_what_looks_random_where_a_secret_is_set(text, expected):
    values = [drawn(LETTERS_DIGITS, 40, seed) for seed in range(5)]
    values += [drawn(HEX, 32, seed) for seed in range(5)]
    assert {masked(text.replace("{}", value)) for value in values} == {expected}


@pytest.mark.parametrize(
    "text",
    [
        f"sha256 = '{drawn(HEX, 64)}'",
        f"commit: {drawn(HEX, 40)}",
        "password = get_password_from_environment()",
        '"DebertaV2Tokenizer": DebertaV2Converter,',
        "tokenizer_class_token = AutoTokenizerForCausalLM4Bit",
        "token = 'your-token-goes-here-1234567890'",
        "secret_key = 'aaaaaaaaaaaaaaaaaaaaaaaa1'",
        "api_key = os.environ['API_KEY']",
        "max_tokens = 10000000000000000000",
    ],
)
def test_leaves_hashes_names_and_placeholders(text):
    assert masked(text) == text


def test_most_random_keys_are_masked():
    """Of those that letters, digits and case leave looking like a name, a few are not."""
    keys = [drawn(LETTERS_DIGITS, 32, seed) for seed in range(500)]
    keys += [drawn(HEX, 32, seed) for seed in range(500)]
    found = sum(masked(f"secret = '{key}'") == "secret = '<KEY>'" for key in keys)
    assert found >= 0.95 * len(keys)


def test_counts_and_metadata_say_what_was_masked():
    text = f"a@b.com 54.123.4.56 c@d.org {SERVICE_KEYS['AWS']}"
    verdict = Mask()(document(text))
    assert isinstance(verdict, Changed)
    assert verdict.document.text == "<EMAIL> <IP_ADDRESS> <EMAIL> <KEY>"
    assert verdict.counts == {"masked EMAIL": 2, "masked IP_ADDRESS": 1, "masked KEY": 1}
    assert verdict.document.metadata == {"masked": {"EMAIL": 2, "IP_ADDRESS": 1, "KEY": 1}}
    assert Mask()(verdict.document) is None


def test_masks_only_what_is_asked_for():
    text = f"a@b.com 54.123.4.56 {SERVICE_KEYS['AWS']}"
    assert masked(text, Mask(emails=False)) == "a@b.com <IP_ADDRESS> <KEY>"
    assert masked(text, Mask(ip_addresses=False)) == "<EMAIL> 54.123.4.56 <KEY>"
    assert masked(text, Mask(keys=False)) == f"<EMAIL> <IP_ADDRESS> {SERVICE_KEYS['AWS']}"


_FRAGMENTS = [
    "a@b.com", "x.y@c.org", "@", "54.123.4.56", "8.8.8.8", ".", ":", "-", "_", "/", "=", " ", "\n",
    "2a00:1450::200e", "::", "secret = ", "token:", "'", '"', "version ", "v", "7", "A", "bearer ",
    "<EMAIL>", "<KEY>", "\u00e9", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----",
    drawn(LETTERS_DIGITS, 40), drawn(HEX, 32), *SERVICE_KEYS.values(), PRIVATE_KEY,
]  # fmt: skip


@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=25).map("".join))
@example("a@b.com@c.org@d.net")
@example("token: " + "54.123.4.56" * 2)
def test_masking_again_changes_nothing(text):
    once = masked(text)
    assert masked(once) == once


def test_masking_what_people_write_again_changes_nothing():
    for text in real_texts():
        once = masked(text)
        assert masked(once) == once
        assert (once == text) == (Mask()(document(text)) is None)


@pytest.mark.parametrize("beginning", [*PREFIXES, "a@b.", "54.1.", "2001:", "token=", "aB3"])
def test_many_beginnings_are_read_in_linear_time(beginning):
    """Else this takes hours."""
    RULE.masked((beginning * (200_000 // len(beginning)))[:200_000])


def test_a_text_that_uncovers_more_each_time_is_dropped():
    chain = "GOCSPX-" * 1000
    assert RULE(document(chain)) == Drop("masking never ends")
    assert isinstance(RULE(document(chain[:70])), Changed)
