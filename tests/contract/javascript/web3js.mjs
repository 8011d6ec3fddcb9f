// The unmodified @solana/web3.js and @solana/spl-token against localnet. Usage: node web3js.mjs HTTP_URL
import assert from "node:assert/strict";
import { test, before } from "node:test";
import {
  AddressLookupTableProgram,
  ComputeBudgetProgram,
  Connection,
  Keypair,
  LAMPORTS_PER_SOL,
  PublicKey,
  SendTransactionError,
  SystemProgram,
  Transaction,
  TransactionInstruction,
  TransactionMessage,
  VersionedTransaction,
  sendAndConfirmTransaction,
} from "@solana/web3.js";
import * as spl from "@solana/spl-token";

const url = process.env.LOCALNET_URL;
const connection = new Connection(url, "confirmed"); // websocket: the port after the HTTP port, as it derives it
const MEMO = new PublicKey("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
const wallet = Keypair.generate();
const other = Keypair.generate();
const limits = { timeout: 20_000 };

const memo = (text) => new TransactionInstruction({ keys: [], programId: MEMO, data: Buffer.from(text) });
const pay = (to, lamports) =>
  SystemProgram.transfer({ fromPubkey: wallet.publicKey, toPubkey: to, lamports });

async function sendV0(instructions, tables = []) {
  const latest = await connection.getLatestBlockhash();
  const message = new TransactionMessage({
    payerKey: wallet.publicKey,
    recentBlockhash: latest.blockhash,
    instructions,
  }).compileToV0Message(tables);
  const transaction = new VersionedTransaction(message);
  transaction.sign([wallet]);
  const signature = await connection.sendTransaction(transaction);
  const result = await connection.confirmTransaction({ signature, ...latest }, "confirmed");
  assert.equal(result.value.err, null);
  return signature;
}

before(async () => {
  const latest = await connection.getLatestBlockhash();
  const signature = await connection.requestAirdrop(wallet.publicKey, 20 * LAMPORTS_PER_SOL);
  const result = await connection.confirmTransaction({ signature, ...latest });
  assert.equal(result.value.err, null);
});

test("node and chain answers pass the client's own shape checks", limits, async () => {
  const [version, genesis, slot, height, epoch, schedule, first, minimum, supply] = await Promise.all([
    connection.getVersion(),
    connection.getGenesisHash(),
    connection.getSlot("finalized"),
    connection.getBlockHeight("finalized"),
    connection.getEpochInfo("finalized"),
    connection.getEpochSchedule(),
    connection.getFirstAvailableBlock(),
    connection.getMinimumLedgerSlot(),
    connection.getTransactionCount(),
  ]);
  assert.match(version["solana-core"], /^\d+\.\d+\.\d+$/);
  assert.equal(new PublicKey(genesis).toBytes().length, 32);
  assert.ok(slot > height && epoch.absoluteSlot >= slot && epoch.slotsInEpoch === schedule.slotsPerEpoch);
  assert.ok(first === minimum && first <= slot && supply > 0);
  assert.equal(await connection.getMinimumBalanceForRentExemption(165), 2039280);
  assert.ok((await connection.getRecentPrioritizationFees()).length > 0);
});

test("transfer by a legacy transaction, confirmed over the websocket", limits, async () => {
  const to = Keypair.generate().publicKey;
  const signature = await sendAndConfirmTransaction(connection, new Transaction().add(pay(to, 1e9)), [wallet]);
  assert.equal(await connection.getBalance(to), 1e9);
  const status = await connection.getSignatureStatus(signature);
  assert.ok(["confirmed", "finalized"].includes(status.value.confirmationStatus));
  const parsed = await connection.getParsedTransaction(signature);
  assert.equal(parsed.transaction.message.instructions[0].parsed.info.lamports, 1e9);
});

test("token: mint, transfer, parsed accounts, supply, delegate, close", limits, async () => {
  const mint = await spl.createMint(connection, wallet, wallet.publicKey, null, 6);
  const mine = await spl.getOrCreateAssociatedTokenAccount(connection, wallet, mint, wallet.publicKey);
  const theirs = await spl.getOrCreateAssociatedTokenAccount(connection, wallet, mint, other.publicKey);
  await spl.mintTo(connection, wallet, mint, mine.address, wallet, 1_000_000_000n);
  const signature = await spl.transferChecked(
    connection, wallet, mine.address, mint, theirs.address, wallet, 250_000_000n, 6,
  );
  assert.equal((await spl.getAccount(connection, theirs.address)).amount, 250_000_000n);
  assert.equal((await spl.getMint(connection, mint)).supply, 1_000_000_000n);
  assert.equal((await connection.getTokenSupply(mint)).value.uiAmountString, "1000");
  assert.equal((await connection.getTokenAccountBalance(mine.address)).value.amount, "750000000");
  const largest = (await connection.getTokenLargestAccounts(mint)).value;
  assert.deepEqual(largest.map((a) => a.amount), ["750000000", "250000000"]);
  const owned = await connection.getParsedTokenAccountsByOwner(other.publicKey, { programId: spl.TOKEN_PROGRAM_ID });
  assert.equal(owned.value[0].account.data.parsed.info.tokenAmount.uiAmount, 250);
  const raw = await connection.getTokenAccountsByOwner(other.publicKey, { mint });
  assert.equal(spl.AccountLayout.decode(raw.value[0].account.data).amount, 250_000_000n);
  const found = await connection.getProgramAccounts(spl.TOKEN_PROGRAM_ID, {
    filters: [{ dataSize: 165 }, { memcmp: { offset: 0, bytes: mint.toBase58() } }],
  });
  assert.equal(found.length, 2);
  const multiple = await connection.getMultipleParsedAccounts([mine.address, Keypair.generate().publicKey]);
  assert.equal(multiple.value[0].data.parsed.info.tokenAmount.amount, "750000000");
  assert.equal(multiple.value[1], null);
  const landed = await connection.getParsedTransaction(signature);
  const balances = landed.meta.postTokenBalances.map((b) => b.uiTokenAmount.amount).sort();
  assert.deepEqual(balances, ["250000000", "750000000"]);
  assert.equal(landed.transaction.message.instructions[0].parsed.type, "transferChecked");
});

test("wrapped SOL: wrap, sync, unwrap", limits, async () => {
  const account = await spl.createWrappedNativeAccount(connection, wallet, wallet.publicKey, 2e9);
  const wrapped = await spl.getAccount(connection, account);
  assert.ok(wrapped.isNative && wrapped.amount === 2_000_000_000n);
  const parsed = await connection.getParsedAccountInfo(account);
  assert.equal(parsed.value.data.parsed.info.isNative, true);
  await spl.closeAccount(connection, wallet, account, wallet.publicKey, wallet);
  assert.equal(await connection.getAccountInfo(account), null);
});

test("versioned transaction with a lookup table, simulated, sent and read back", limits, async () => {
  const slot = await connection.getSlot("confirmed");
  const [create, table] = AddressLookupTableProgram.createLookupTable({
    authority: wallet.publicKey, payer: wallet.publicKey, recentSlot: slot,
  });
  const targets = [Keypair.generate().publicKey, Keypair.generate().publicKey];
  const extend = AddressLookupTableProgram.extendLookupTable({
    lookupTable: table, authority: wallet.publicKey, payer: wallet.publicKey, addresses: targets,
  });
  await sendV0([create, extend]);
  const lookup = (await connection.getAddressLookupTable(table)).value;
  assert.deepEqual(lookup.state.addresses.map(String), targets.map(String));
  const price = ComputeBudgetProgram.setComputeUnitPrice({ microLamports: 1000 });
  const instructions = [price, ...targets.map((to) => pay(to, 1e8))];
  const latest = await connection.getLatestBlockhash();
  const message = new TransactionMessage({ payerKey: wallet.publicKey, recentBlockhash: latest.blockhash, instructions });
  const unsigned = new VersionedTransaction(message.compileToV0Message([lookup]));
  assert.ok((await connection.getFeeForMessage(unsigned.message)).value >= 5000);
  const simulated = await connection.simulateTransaction(unsigned, { replaceRecentBlockhash: true, sigVerify: false });
  assert.equal(simulated.value.err, null);
  const signature = await sendV0(instructions, [lookup]);
  const landed = await connection.getTransaction(signature, { maxSupportedTransactionVersion: 0 });
  assert.equal(landed.version, 0);
  assert.deepEqual(landed.meta.loadedAddresses.writable.map(String).sort(), targets.map(String).sort());
  await assert.rejects(connection.getTransaction(signature), /maxSupportedTransactionVersion/);
  const parsed = await connection.getParsedTransaction(signature, { maxSupportedTransactionVersion: 0 });
  const sources = parsed.transaction.message.accountKeys.map((k) => k.source);
  assert.equal(sources.filter((s) => s === "lookupTable").length, 2);
});

test("signatures are paged by before, until and limit, with memos", limits, async () => {
  const to = Keypair.generate().publicKey;
  const sent = [];
  for (let i = 0; i < 4; i++) sent.unshift(await sendV0([pay(to, 1e9 / 10 + i), memo(`note ${i}`)]));
  const first = await connection.getSignaturesForAddress(to, { limit: 3 });
  const rest = await connection.getSignaturesForAddress(to, { before: first[2].signature });
  assert.deepEqual([...first, ...rest].map((s) => s.signature), sent);
  assert.deepEqual(first.map((s) => s.memo), ["[6] note 3", "[6] note 2", "[6] note 1"]);
  const until = await connection.getSignaturesForAddress(to, { until: sent[2] });
  assert.deepEqual(until.map((s) => s.signature), sent.slice(0, 2));
});

test("blocks in every detail", limits, async () => {
  const signature = await sendV0([pay(other.publicKey, 1e9), memo("block")]);
  const { slot } = await connection.getTransaction(signature, { maxSupportedTransactionVersion: 0 });
  const full = await connection.getBlock(slot, { maxSupportedTransactionVersion: 0 });
  assert.ok(full.transactions.some((t) => t.transaction.signatures[0] === signature));
  assert.ok(full.blockHeight < slot && full.parentSlot < slot);
  const parsed = await connection.getParsedBlock(slot, { maxSupportedTransactionVersion: 0 });
  assert.equal(parsed.blockhash, full.blockhash);
  const accounts = await connection.getBlock(slot, { maxSupportedTransactionVersion: 0, transactionDetails: "accounts" });
  assert.equal(accounts.transactions.length, full.transactions.length);
  const none = await connection.getBlock(slot, { transactionDetails: "none", rewards: false });
  assert.equal(none.blockhash, full.blockhash);
  const signatures = await connection.getBlockSignatures(slot);
  assert.ok(signatures.signatures.includes(signature));
  assert.ok((await connection.getBlocks(slot - 3, slot)).includes(slot));
  assert.ok((await connection.getBlockTime(slot)) > 1_000_000_000);
});

test("account, program, slot, root, logs and signature subscriptions notify", limits, async () => {
  const to = Keypair.generate().publicKey;
  const seen = {};
  const ids = [];
  const all = new Promise((resolve) => {
    const saw = (kind) => (value) => {
      seen[kind] ??= value;
      if (["account", "slot", "root", "logs"].every((k) => k in seen)) resolve();
    };
    ids.push(["AccountChange", connection.onAccountChange(to, saw("account"), { commitment: "confirmed" })]);
    ids.push(["SlotChange", connection.onSlotChange(saw("slot"))]);
    ids.push(["RootChange", connection.onRootChange(saw("root"))]);
    ids.push(["OnLogs", connection.onLogs(to, saw("logs"), "confirmed")]);
  });
  await new Promise((resolve) => setTimeout(resolve, 300)); // the client subscribes in the background
  await sendV0([pay(to, 1e9)]);
  await all;
  assert.equal(seen.account.lamports, 1e9);
  assert.ok(seen.slot.slot > seen.slot.root && seen.root > 0);
  assert.ok(seen.logs.logs.length >= 2 && seen.logs.err === null);
  for (const [kind, id] of ids) {
    const remove = kind === "OnLogs" ? "removeOnLogsListener" : `remove${kind}Listener`;
    await connection[remove](id);
  }
});

test("batches answer in order", limits, async () => {
  const signatures = (await connection.getSignaturesForAddress(wallet.publicKey, { limit: 3 })).map((s) => s.signature);
  const many = await connection.getTransactions(signatures, { maxSupportedTransactionVersion: 0 });
  assert.deepEqual(many.map((t) => t.transaction.signatures[0]), signatures);
});

test("mistakes raise the client's own errors with the validator's words", limits, async () => {
  const poor = Keypair.generate();
  const transaction = new Transaction().add(
    SystemProgram.transfer({ fromPubkey: wallet.publicKey, toPubkey: poor.publicKey, lamports: 1e15 }),
  );
  const failure = await sendAndConfirmTransaction(connection, transaction, [wallet]).catch((e) => e);
  assert.ok(failure instanceof SendTransactionError);
  assert.match(failure.message, /custom program error: 0x1/);
  assert.ok(failure.logs.some((line) => line.includes("insufficient lamports")));
  await assert.rejects(connection.getBlock(10), /cleaned up/);
  await assert.rejects(connection.getTokenSupply(wallet.publicKey), /not a Token mint|could not find/);
});

process.on("exit", () => connection._rpcWebSocket.close());
test("the client lets go", limits, async () => {
  connection._rpcWebSocket.close();
});
