"""The doctor's words in English: what happened, what to do."""

from __future__ import annotations

from collections.abc import Mapping

_ONE_TEXT = "Write the JSON once, and use that very text for the signature and for the body."
_RAW = "Sign the raw values; encode them afterwards, for the body only."
_AGREE = "Agree on one algorithm; MD5 unless support says otherwise."
_SUFFIX = "Append &key= and then the key."

ENGLISH_FRAME: Mapping[str, str] = {
    "right": "The signature is right.",
    "wrong": "The signature is wrong, and this is why:",
    "unexplained": "The signature is wrong, and no known mistake explains it.",
    "mistake": "*",
    "warning": "(warning)",
    "fields": "    fields: {names}",
    "side": "    made by: {side}",
    "signer": "whoever computed the sign",
    "reader": "here: in the message or the key as given",
    "either": "either side; they disagree",
    "to_do": "    do: {text}",
    "also": "    the same sign comes out of: {names}",
    "key": "Key used here: {length} characters, SHA-256 begins with {print}",
    "rule": "Algorithm {algorithm}, names in {order} order",
    "canonical": "String to sign, without the key:\n  {text}",
    "signed": "What was signed instead:\n  {text}",
}

ENGLISH: Mapping[str, tuple[str, str]] = {
    # what is seen without trying anything
    "sign-missing": (
        "The message carries no sign.",
        "Add the field sign, in this spelling, with the computed signature.",
    ),
    "sign-misnamed": (
        "The signature is in a field of another name than sign.",
        "Name the field sign, in small letters.",
    ),
    "sign-unclean": (
        "There are blanks, quotes or a line end around the sign.",
        "Send the hex digits and nothing else.",
    ),
    "sign-placeholder": (
        "The sign is a row of zeros, as the document's examples print it.",
        "Compute a signature; the document holds none that is real.",
    ),
    "sign-shape": (
        "The sign is not of the agreed algorithm: MD5 has 32 hex digits, SHA1 40, SHA256 64.",
        "Ask for the other side's algorithm, and look where the sign loses or gains characters.",
    ),
    "sign-lowercase": (
        "The sign is in small letters; the document asks for capitals.",
        "Raise the hex digest to upper case before it is sent; a strict reader refuses it.",
    ),
    "body-not-utf8": (
        "The body is not in UTF-8 (it was read as GBK, or byte by byte).",
        "Percent-encode the UTF-8 bytes of every value, and declare charset=utf-8.",
    ),
    "duplicate-names": (
        "A name comes twice; a signature covers a set of names, and readers differ in what counts.",
        "Send every name once.",
    ),
    "ambiguous": (
        "The sign is right, but the signed text can be cut into fields in another way as well.",
        "Keep & with a field name and = out of values: verify() refuses such a message (M-04).",
    ),
    "unexplained": (
        "Most likely another key was used, or a value was changed beyond recognition.",
        "Compare the key's length and fingerprint with the other side, then the string to sign.",
    ),
    # the key's surroundings
    "previous-key": (
        "It was signed with a previous key.",
        "Let the signer change to the new key; until then keep the old one in previous_keys.",
    ),
    "field-as-key": (
        "A number from the message (agent_id, pid or mch_id) was used as the key.",
        "Sign with the key that was issued for the agent.",
    ),
    "field-not-sent": (
        "A field was signed that is not in the message.",
        "Send every field that is signed; make the string and the body from the same map.",
    ),
    # fields
    "duplicate-last": (
        "A name comes twice, and only the last one was signed.",
        "Send every name once.",
    ),
    "duplicate-first": (
        "A name comes twice, and only the first one was signed.",
        "Send every name once.",
    ),
    "duplicate-joined": (
        "A name comes twice, and its values were signed joined by a comma.",
        "Send every name once; do not sign from a framework's joined parameters.",
    ),
    "body-bom": (
        "The body begins with a byte order mark, which became part of the first name.",
        "Write the body in UTF-8 without BOM.",
    ),
    "body-newline": (
        "The body ends with a line end, which became part of the last value.",
        "Send the body without it (curl --data-binary from a file keeps it).",
    ),
    "body-html-escaped": (
        "The body was HTML-escaped: &amp; stands between the fields.",
        "Build the body with a form encoder, never from text shown in a page.",
    ),
    "body-entity": (
        "Part of the body was read as an HTML entity: &trade became the trade mark sign, &not a ¬.",
        "Build the body with a form encoder, never from text copied out of a page.",
    ),
    "plus-as-space": (
        "A + was signed, but is read as a blank.",
        "Percent-encode + as %2B in the body; if a blank was meant, sign a blank and not a +.",
    ),
    "space-as-plus": (
        "A blank was signed, but arrives as +.",
        "Decode + as a blank once (form rules); send a blank as + or %20, not as %2B.",
    ),
    "signed-encoded-upper": ("Percent-encoded values were signed (%E4%BD%A0).", _RAW),
    "signed-encoded-lower": (
        "Percent-encoded values in small hex letters were signed (%e4%bd%a0).",
        _RAW,
    ),
    "signed-encoded-twice": (
        "Values were signed that had been percent-encoded twice.",
        "Sign the raw values; encode them once, for the body only.",
    ),
    "double-encoded": (
        "The raw values were signed, but encoded twice on their way.",
        "Encode once: do not hand encoded values to a client that encodes by itself.",
    ),
    "double-decoded": (
        "The other side decoded the values twice before it signed them.",
        "Decode once: the framework has decoded the parameters already.",
    ),
    "read-twice": (
        "The values were decoded twice here: a %25 in the original has become %.",
        "Decode once, or hand over the body as it came.",
    ),
    "values-trimmed": (
        "Values were signed without the blanks at their ends, but sent with them.",
        "Trim before both, or not at all.",
    ),
    "zero-dropped": (
        "Fields with the value 0 were left out as if empty.",
        'Leave out only what is missing or "" (not what is falsy): 0 takes part.',
    ),
    "blank-dropped": (
        "Fields that hold only blanks were left out as if empty.",
        "A blank takes part in the signature; better, do not send such a field.",
    ),
    "null-as-text": (
        "Empty values were signed as a word (null, None, undefined).",
        "Leave empty values out of the signature.",
    ),
    "null-sent": (
        "Values that were nothing to the signer arrived as a word (null, None, undefined).",
        "Leave empty fields out of the body, too.",
    ),
    "boolean-spelling": (
        "Booleans were signed in another spelling than they were sent in.",
        "Turn values into text once (true, false), and sign and send that text.",
    ),
    "envelope-left-out": (
        "method, pid, version or agent_id were sent but not signed.",
        "Sign after the common parameters were added.",
    ),
    "sign-type-dropped": (
        "sign_type was left out of the signature, as other gateways want it.",
        "Sign every field but sign; this gateway has no sign_type, so do not send one.",
    ),
    "sign-type-added": (
        "sign_type=MD5 was signed, but not sent.",
        "This gateway has no sign_type: leave it out of the signature.",
    ),
    "unknown-dropped": (
        "Only documented fields were signed.",
        "Sign and verify every field that came: the gateway may add fields at any time.",
    ),
    "field-left-out": (
        "One field was sent but not signed.",
        "Sign every field but sign, at the very last moment before sending.",
    ),
    "names-recased": (
        "The names were signed in other letters (all small or all capital) than they were sent in.",
        "Names are case-sensitive: leave them as the document has them.",
    ),
    "numbers-reformatted": (
        "Numbers were written in another form before signing (1 as 1.0, 01 as 1, 4.00 as 4).",
        "Keep the text of the message: do not turn values into numbers before verifying.",
    ),
    "amount-in-yuan": ("Amounts were signed in yuan, but sent in fen.", "Sign and send fen."),
    "json-spaces": ("JSON inside a value was written again, with other blanks.", _ONE_TEXT),
    "json-key-order": ("JSON inside a value was written again, with its names sorted.", _ONE_TEXT),
    "json-unicode": (
        r"JSON inside a value was written again: \uXXXX instead of the characters, or the reverse.",
        _ONE_TEXT,
    ),
    "json-slashes": (
        r"JSON inside a value was written again: \/ instead of /, or the reverse.",
        "Write the JSON once, and use that very text (PHP: JSON_UNESCAPED_SLASHES).",
    ),
    "json-rewritten": (
        "JSON inside a value was parsed and written again in another style.",
        _ONE_TEXT,
    ),
    "json-as-literal": (
        "An object was signed as the language prints it ({'a': 1}, [object Object], Array).",
        "Turn it into JSON text first, and sign and send that text.",
    ),
    "json-escapes-kept": (
        r"Values were signed as they stand in the JSON source, with \", \/ or \uXXXX.",
        "Parse the reply first; the decoded text is what is signed.",
    ),
    "html-escaped": (
        "Values were HTML-escaped (&amp;, &lt;) before they were signed.",
        "Sign what is sent; escape only when a page is written (look for an input filter).",
    ),
    "html-unescaped": (
        "The message holds HTML entities (&amp;), but the plain characters were signed.",
        "Send what was signed; look for an input filter that escapes.",
    ),
    "line-ends": (
        "Line ends in a value were changed between signing and sending.",
        "Settle on \\n (or on none) before the value is signed.",
    ),
    "width-folded": (
        "Full-width characters were turned into usual ones (NFKC) before signing.",
        "Normalise before both signing and sending, or not at all.",
    ),
    "unicode-composed": (
        "Accents were composed or taken apart (NFC, NFD) between signing and sending.",
        "Normalise before both signing and sending, or not at all.",
    ),
    "emoji-dropped": (
        "Emoji were dropped or replaced before signing.",
        "Sign what is sent, in full UTF-8 (MySQL: utf8mb4), or keep emoji out of both.",
    ),
    "invisible-dropped": (
        "Invisible characters (zero-width, BOM) were sent but not signed.",
        "Clean the value before it is signed and sent.",
    ),
    "nbsp-as-space": (
        "A no-break space was sent, a usual one was signed.",
        "Clean the value before it is signed and sent.",
    ),
    "backslashes": (
        "Backslashes were added before quotes, or taken away, before signing.",
        "Look for addslashes or stripslashes, and sign what is sent.",
    ),
    "mojibake": (
        "UTF-8 was read in another charset before signing, so garbled text was signed.",
        "Decode the body as UTF-8 (servlets: setCharacterEncoding before the first parameter).",
    ),
    # the string to sign
    "empty-kept": (
        "Fields without a value were signed (a=&).",
        "Leave empty values out of the string to sign.",
    ),
    "sign-included": (
        "The field sign itself took part.",
        "Take sign out before the string is made, whether it is filled or empty.",
    ),
    "order-case-ignored": (
        "The names are sorted with case ignored, as the later document says.",
        "Set sort_order=SortOrder.IGNORE_CASE to sign like that; both orders are accepted here.",
    ),
    "order-ascii": (
        "The names are sorted by ASCII code, as version 2.9.0 says.",
        "Set sort_order=SortOrder.ASCII to sign like that; both orders are accepted here.",
    ),
    "sorted-upper-folded": (
        "The names were compared in capitals, so _ sorts after letters (openid before op_user_id).",
        "Compare ASCII codes; to ignore case, compare in small letters.",
    ),
    "unsorted": (
        "The fields were signed in the order of the message, unsorted.",
        "Sort by name first.",
    ),
    "sorted-pairs": (
        "The texts name=value were sorted, not the names (a1= before a=).",
        "Sort the names, then join.",
    ),
    "sorted-locale": (
        "The names were sorted by the rules of a language, which treat _ in their own way.",
        "Compare ordinal codes (C#: StringComparer.Ordinal, Java: String.compareTo, PHP: ksort).",
    ),
    "sorted-descending": ("The names were sorted from z to a.", "Sort in ascending order."),
    "sorted-by-value": (
        "The fields were sorted by their values.",
        "Sort by name (PHP: ksort, not sort or asort).",
    ),
    "sorted-by-length": ("The names were sorted by their length.", "Sort by ASCII code."),
    "trailing-ampersand": (
        "There is an & too many between the last field and the key (&&key=).",
        "Cut the last & before &key= is appended.",
    ),
    "wire-signed": (
        "The body was signed as it was sent, encoded or unsorted.",
        "Sign the raw, sorted values; encode afterwards.",
    ),
    "text-url-encoded": (
        "The whole string to sign was percent-encoded.",
        "Sign the string as it is (PHP: http_build_query encodes; join by hand).",
    ),
    "text-entity": (
        "Part of the string was read as an HTML entity: &trade became a trade mark sign, &not a ¬.",
        "Never pass the string through a page or an HTML decoder.",
    ),
    "text-html-escaped": (
        "The string was HTML-escaped: &amp; stood between the fields.",
        "Join with a plain &.",
    ),
    "leading-mark": ("The string began with &, ? or a BOM.", "Begin with the first name."),
    "text-newline": (
        "There was a line end between the string and the key (echo, a text block).",
        "Sign without it (echo -n).",
    ),
    "values-quoted": ('The values were put in quotes (a="1").', "Join name=value without quotes."),
    "other-separators": ("The fields were not joined by = and &.", "Join as a=1&b=2."),
    "values-only": ("Only the values were joined, without the names.", "Join as a=1&b=2."),
    "text-json": (
        "The parameters were signed as JSON.",
        "Join as a=1&b=2, also where the message travels as JSON.",
    ),
    "text-recased": (
        "The whole string was put in small or capital letters before it was signed.",
        "Only the digest is raised to upper case.",
    ),
    # key, bytes, digest
    "own-key-unclean": (
        "The key as given here has blanks, quotes, a line end or a BOM that are not part of it.",
        "Clean the key where it is stored.",
    ),
    "key-newline": (
        "The signer's key has a line feed at its end.",
        "Strip the key when it is read from a file or a variable.",
    ),
    "key-crlf": (
        "The signer's key has a carriage return at its end.",
        "Strip the key when it is read; save its file with plain line ends.",
    ),
    "key-bom": (
        "The signer's key begins with a byte order mark.",
        "Save the key's file as UTF-8 without BOM.",
    ),
    "key-blanks": (
        "The signer's key has a blank at an end.",
        "Strip the key; look at what was copied.",
    ),
    "key-quotes": (
        "The signer's key is in quotes.",
        "Take the quotes out of the setting (Docker's env files keep them).",
    ),
    "key-braces": (
        "The signer put the key in brackets, as the document's placeholder {KEY} has them.",
        "Replace the brackets as well.",
    ),
    "key-recased": (
        "The key was used in other letters (all small or all capital).",
        "Use the key exactly as it was issued.",
    ),
    "key-cut": (
        "The two keys differ in a character at an end, or one was cut.",
        "Compare the lengths, and copy the key again.",
    ),
    "key-digested": ("A digest of the key was used as the key.", "Use the key itself."),
    "key-decoded": (
        "The key was decoded from hex or base64, or encoded in base64, first.",
        "Use the key's characters as they are.",
    ),
    "key-url-encoded": ("The key was percent-encoded.", "Append the key as it is."),
    "algorithm-md5": ("It was signed with MD5.", _AGREE),
    "algorithm-sha1": ("It was signed with SHA1.", _AGREE),
    "algorithm-sha256": ("It was signed with SHA256.", _AGREE),
    "algorithm-hmac-sha256": ("It was signed with HMAC-SHA256.", _AGREE),
    "hmac-without-suffix": (
        "HMAC-SHA256 was computed over the string without &key=.",
        "Append &key= and the key for HMAC, too.",
    ),
    "algorithm-other": (
        "It was signed with an algorithm that the document does not have (HMAC-MD5, SHA512, ...).",
        "Use MD5, or what support has set for the agent.",
    ),
    "key-bare": ("The key was appended without &key=.", _SUFFIX),
    "key-without-ampersand": ("The key was appended as key=, without the & before it.", _SUFFIX),
    "key-without-name": ("The key was appended after & without its name.", _SUFFIX),
    "key-prepended": (
        "The key was put in front of the string.",
        "Append &key= and the key at the end.",
    ),
    "key-both-ends": (
        "The key was put at both ends of the string.",
        "Append &key= and the key at the end only.",
    ),
    "key-name-case": ("The key was appended as &KEY= or &Key=.", "Write &key= in small letters."),
    "key-other-name": (
        "The key was appended under another name (secret, appkey, ...).",
        "Write &key=.",
    ),
    "key-sorted-in": (
        "The key was sorted in among the fields.",
        "Append &key= and the key after sorting, at the end.",
    ),
    "key-missing": (
        "No key was appended, or an empty one.",
        "Look whether the key's setting is read at all, then append &key= and the key.",
    ),
    "key-not-last": (
        "Something (an & or a line end) followed the key.",
        "End the text with the key.",
    ),
    "whole-recased": (
        "The whole text, key and all, was put in small or capital letters before hashing.",
        "Only the digest is raised to upper case.",
    ),
    "whole-url-encoded": (
        "The whole text, key and all, was percent-encoded before hashing.",
        "Hash the raw text.",
    ),
    "gbk": (
        "The string was hashed in GBK.",
        "Encode it as UTF-8 (Java: getBytes(StandardCharsets.UTF_8)).",
    ),
    "latin-1": (
        "The string was hashed in Latin-1, where Chinese becomes question marks.",
        "Encode it as UTF-8.",
    ),
    "ascii-only": (
        "Everything but ASCII was dropped before hashing.",
        "Encode the string as UTF-8.",
    ),
    "utf-16": ("The string was hashed in UTF-16 (C#: Encoding.Unicode).", "Encode it as UTF-8."),
    "emoji-cesu8": (
        "Emoji were hashed as two surrogates of three bytes each (CESU-8, modified UTF-8).",
        "Encode the string as plain UTF-8, where an emoji has four bytes.",
    ),
    "digest-of-digest": ("The digest was hashed a second time.", "Hash once."),
    "digest-base64": ("The digest was written in base64.", "Write it in hex, upper case."),
    "digest-half": (
        "Only a part of the digest was sent (the 16-digit MD5, for example).",
        "Send all of its hex digits.",
    ),
    "digest-zeros-dropped": (
        "The digest lost zeros, or gained ffffff, when its bytes were written in hex.",
        "Write two hex digits for every byte (Java: %02x of b & 0xff, not BigInteger.toString).",
    ),
    "sign-damaged": (
        "The sign is right but for a few characters that were lost or added.",
        "Look where it is cut or copied: a column that is too short, a line break, a typo.",
    ),
}
