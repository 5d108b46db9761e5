import hashlib
import hmac

from proxy.vault import KeyHasher, derive_key

SECRET_KEY = "0123456789abcdef" * 4


def _hkdf_sha256(key: bytes, info: bytes) -> bytes:
    """RFC 5869, written out: one block, no salt."""
    extracted = hmac.digest(bytes(32), key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def test_keys_are_derived_as_rfc_5869_says() -> None:
    derived = derive_key(SECRET_KEY, "seals")
    assert derived == _hkdf_sha256(SECRET_KEY.encode(), b"apilink seals")
    assert derived != derive_key(SECRET_KEY, "signatures")
    assert derived != derive_key(SECRET_KEY + "0", "seals")


def test_a_hash_is_of_the_secret_and_of_the_deployment() -> None:
    hasher = KeyHasher(SECRET_KEY)
    known = hasher.hash("secret")
    assert len(known) == 32
    assert hasher.verify("secret", known)
    assert not hasher.verify("Secret", known)
    assert not hasher.verify("secret", known[:-1])
    assert not KeyHasher(SECRET_KEY[::-1]).verify("secret", known)
