"""Key files: read strictly, matched with the wallet, never shown."""

import json
from pathlib import Path

import pytest
from execution_cases import OWNER, WALLET
from solders.keypair import Keypair

from tradingbot_engine.execution.signer import load_signer
from tradingbot_engine.key_file import KeyUnusable


@pytest.mark.parametrize("text", [json.dumps(list(bytes(WALLET))), f"  {WALLET}\n"])
async def test_both_forms_of_key_file_sign_for_the_wallet(tmp_path: Path, text: str) -> None:
    """Solana CLI's JSON and base58; the signature is the wallet's."""
    path = tmp_path / "key"
    path.write_text(text)
    signer = load_signer(path, address=str(OWNER))
    signature = await signer.sign(b"message", intent_id="i", attempt=1, epoch=1)
    assert str(OWNER) == signer.address
    assert signature.verify(OWNER, b"message")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[1, 2, 3]",
        json.dumps([999] * 64).encode(),
        json.dumps(["x"] * 64).encode(),
        json.dumps([7] * 64).encode(),
        b"{}",
        b"not a key",
        str(WALLET).encode()[:-3],
        b"\xff" * 64,
        b"1" * 5000,
    ],
)
def test_a_file_that_holds_no_whole_key_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    """Also 64 numbers whose public half does not belong to the private half."""
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(KeyUnusable) as caught:
        load_signer(path, address=str(OWNER))
    shown = str(caught.value).replace(str(path), "")
    assert len(content) < 3 or content.decode("latin-1")[:12] not in shown
    assert caught.value.__cause__ is None


def test_another_wallets_key_is_refused(tmp_path: Path) -> None:
    """Signing with the wrong key would trade another wallet's money."""
    path = tmp_path / "key"
    path.write_text(str(Keypair()))
    with pytest.raises(KeyUnusable, match="the wallet is"):
        load_signer(path, address=str(OWNER))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The operator must see which file was meant."""
    with pytest.raises(KeyUnusable, match=r"nowhere.json: cannot be read"):
        load_signer(tmp_path / "nowhere.json", address=str(OWNER))


def test_a_signer_never_prints_its_key(tmp_path: Path) -> None:
    """Neither by repr nor by its attributes."""
    path = tmp_path / "key"
    path.write_text(str(WALLET))
    signer = load_signer(path, address=str(OWNER))
    assert str(WALLET) not in repr(signer)
    assert not hasattr(signer, "__dict__")
