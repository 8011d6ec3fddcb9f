// The unmodified @solana/kit against localnet: LOCALNET_URL and LOCALNET_WEBSOCKET name the node.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  address,
  airdropFactory,
  appendTransactionMessageInstructions,
  assertIsTransactionWithBlockhashLifetime,
  createSolanaRpc,
  createSolanaRpcSubscriptions,
  createTransactionMessage,
  generateKeyPairSigner,
  getBase64EncodedWireTransaction,
  getSignatureFromTransaction,
  lamports,
  pipe,
  sendAndConfirmTransactionFactory,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
} from "@solana/kit";
import { getTransferSolInstruction } from "@solana-program/system";
import { getAddMemoInstruction } from "@solana-program/memo";

const rpc = createSolanaRpc(process.env.LOCALNET_URL);
const rpcSubscriptions = createSolanaRpcSubscriptions(process.env.LOCALNET_WEBSOCKET);
const sendAndConfirm = sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions });
const airdrop = airdropFactory({ rpc, rpcSubscriptions });
const MEMO = address("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
const limits = { timeout: 20_000 };
const commitment = "confirmed";

async function funded() {
  const signer = await generateKeyPairSigner();
  await airdrop({ recipientAddress: signer.address, lamports: lamports(5_000_000_000n), commitment });
  return signer;
}

async function signed(payer, instructions) {
  const { value: latest } = await rpc.getLatestBlockhash({ commitment }).send();
  const message = pipe(
    createTransactionMessage({ version: 0 }),
    (m) => setTransactionMessageFeePayerSigner(payer, m),
    (m) => setTransactionMessageLifetimeUsingBlockhash(latest, m),
    (m) => appendTransactionMessageInstructions(instructions, m),
  );
  const transaction = await signTransactionMessageWithSigners(message);
  assertIsTransactionWithBlockhashLifetime(transaction);
  return transaction;
}

const pay = (source, destination, amount) => getTransferSolInstruction({ source, destination, amount });

test("airdrop, transfer, confirm, read back", limits, async () => {
  const payer = await funded();
  const to = (await generateKeyPairSigner()).address;
  const transaction = await signed(payer, [pay(payer, to, 1_000_000_000n), getAddMemoInstruction({ memo: "kit" }, { programAddress: MEMO })]);
  await sendAndConfirm(transaction, { commitment });
  const signature = getSignatureFromTransaction(transaction);
  assert.equal((await rpc.getBalance(to, { commitment }).send()).value, 1_000_000_000n);
  const options = { commitment, encoding: "jsonParsed", maxSupportedTransactionVersion: 0 };
  const landed = await rpc.getTransaction(signature, options).send();
  assert.equal(landed.transaction.message.instructions[0].parsed.info.lamports, 1_000_000_000n);
  assert.equal(landed.meta.fee, 5000n);
  const [entry] = await rpc.getSignaturesForAddress(to, { commitment }).send();
  assert.deepEqual([entry.signature, entry.memo], [signature, "[3] kit"]);
  const { value: [status] } = await rpc.getSignatureStatuses([signature]).send();
  assert.equal(status.err, null);
});

test("reads of node, chain, accounts and blocks", limits, async () => {
  const payer = await funded();
  assert.equal(await rpc.getHealth().send(), "ok");
  const slot = await rpc.getSlot({ commitment: "finalized" }).send();
  const epoch = await rpc.getEpochInfo({ commitment: "finalized" }).send();
  assert.ok(epoch.absoluteSlot >= slot && epoch.blockHeight < slot);
  const block = await rpc.getBlock(slot, { maxSupportedTransactionVersion: 0, encoding: "base64" }).send();
  assert.ok(block.blockHeight > 0n);
  const clock = address("SysvarC1ock11111111111111111111111111111111");
  const parsed = await rpc.getAccountInfo(clock, { encoding: "jsonParsed", commitment }).send();
  assert.equal(parsed.value.data.parsed.type, "clock");
  const base64 = await rpc.getAccountInfo(payer.address, { encoding: "base64", commitment }).send();
  assert.equal(base64.value.lamports, 5_000_000_000n);
  const zstd = await rpc.getAccountInfo(payer.address, { encoding: "base64+zstd", commitment }).send();
  assert.equal(zstd.value.data[1], "base64+zstd");
  assert.equal(await rpc.getMinimumBalanceForRentExemption(0n).send(), 890_880n);
  assert.ok((await rpc.getRecentPrioritizationFees().send()).length > 0);
});

test("subscriptions by async iteration", limits, async () => {
  const payer = await funded();
  const to = (await generateKeyPairSigner()).address;
  const abort = new AbortController();
  const options = { abortSignal: abort.signal };
  const accounts = await rpcSubscriptions.accountNotifications(to, { commitment, encoding: "base64" }).subscribe(options);
  const slots = await rpcSubscriptions.slotNotifications().subscribe(options);
  const logs = await rpcSubscriptions.logsNotifications({ mentions: [to] }, { commitment }).subscribe(options);
  const transaction = await signed(payer, [pay(payer, to, 1_000_000_000n)]);
  const signature = getSignatureFromTransaction(transaction);
  const landing = await rpcSubscriptions.signatureNotifications(signature, { commitment }).subscribe(options);
  // the client keeps messages only from the first poll on, so poll before sending
  const next = async (stream) => (await stream[Symbol.asyncIterator]().next()).value;
  const notified = Promise.all([landing, accounts, logs, slots].map(next));
  const wire = getBase64EncodedWireTransaction(transaction);
  await rpc.sendTransaction(wire, { encoding: "base64", preflightCommitment: commitment }).send();
  const [landed, account, logged, slot] = await notified;
  assert.equal(landed.value.err, null);
  assert.equal(account.value.lamports, 1_000_000_000n);
  assert.equal(logged.value.signature, signature);
  assert.ok(slot.slot > slot.parent && slot.parent > slot.root);
  abort.abort();
});

test("simulation and failure", limits, async () => {
  const payer = await funded();
  const to = (await generateKeyPairSigner()).address;
  const transaction = await signed(payer, [pay(payer, to, 10n ** 15n)]);
  const wire = getBase64EncodedWireTransaction(transaction);
  const { value } = await rpc.simulateTransaction(wire, { encoding: "base64", commitment }).send();
  assert.deepEqual(value.err, { InstructionError: [0n, { Custom: 1n }] });
  const failure = await sendAndConfirm(transaction, { commitment }).catch((e) => e);
  assert.match(failure.message, /simulation failed/i);
});
