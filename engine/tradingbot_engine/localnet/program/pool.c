/*
 * A constant-product pool (x * y = k, fee on the way in) for the embedded Solana cluster.
 *
 * Freestanding C for upstream clang's BPF target; link.py turns the object into a program file.
 * BPF stacks hold 512 bytes, so everything larger than a few words lives in the VM's heap (struct scratch).
 *
 * Instructions (first byte of the data; integers are little-endian):
 *   0 open      [0, bump u8, fee_bps u16]              pool(w) authority vault_a vault_b creator(s)
 *   1 swap      [1, amount_in u64, min_out u64]        user(s) token_program source(w)
 *                                                      then for each hop: pool authority vault_in(w) vault_out(w) destination(w)
 *               Hop n + 1 spends exactly what hop n gave; min_out is about the last hop. Returns the amount as return data.
 *   3 swap_out  [3, amount_out u64, max_in u64]        accounts as of swap
 *               Spends the least that gives at least amount_out, to the base unit; more than max_in fails like too little out.
 *   2 withdraw  [2, amount_a u64, amount_b u64]        creator(s) token_program pool authority vault_a(w) vault_b(w) to_a(w) to_b(w)
 *
 * Deposits need no instruction: what is transferred into a vault belongs to the pool.
 *
 * Pool account (176 bytes), read by tradingbot_engine.market.layouts.decode_pool:
 *   0 "TBPOOL01" | 8 bump u8 | 9 zero u8 | 10 fee_bps u16 | 12 zero u32 | 16 mint_a | 48 mint_b | 80 vault_a | 112 vault_b | 144 creator
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define INLINE static inline __attribute__((always_inline))

/* The VM's calling convention for C programs. */
typedef struct { u8 *key; u64 *lamports; u64 data_len; u8 *data; u8 *owner; u64 rent_epoch; u8 is_signer, is_writable, executable; } account;
typedef struct { u8 *key; u8 is_writable, is_signer; } account_meta;
typedef struct { u8 *program_id; account_meta *accounts; u64 account_count; u8 *data; u64 data_len; } instruction;
typedef struct { const u8 *bytes; u64 len; } seed;
typedef struct { const seed *seeds; u64 len; } signer_seeds;

extern u64 sol_invoke_signed_c(const instruction *, const account *, u64, const signer_seeds *, u64);
extern u64 sol_create_program_address(const seed *, u64, const u8 *, u8 *);
extern u64 sol_set_return_data(const u8 *, u64);
extern u64 sol_log_64_(u64, u64, u64, u64, u64);

enum {
	ERROR_BAD_INSTRUCTION = 6000,
	ERROR_SLIPPAGE = 6001, /* Jupiter's SlippageToleranceExceeded: clients know this number */
	ERROR_WRONG_POOL = 6002,
	ERROR_ALREADY_OPEN = 6003,
	ERROR_WRONG_AUTHORITY = 6004,
	ERROR_WRONG_VAULT = 6005,
	ERROR_WRONG_TOKEN_PROGRAM = 6006,
	ERROR_MISSING_SIGNATURE = 6007,
	ERROR_BAD_AMOUNT = 6008,
	ERROR_BAD_FEE = 6009,
	ERROR_NOT_CREATOR = 6010,
};

enum { MAX_ACCOUNTS = 20, MAX_HOPS = 3, ACCOUNTS_PER_HOP = 5, BPS = 10000, GROWTH_ROOM = 10240 };
enum { POOL_SIZE = 176, AT_BUMP = 8, AT_FEE = 10, AT_MINT_A = 16, AT_MINT_B = 48, AT_VAULT_A = 80, AT_VAULT_B = 112, AT_CREATOR = 144 };
enum { TOKEN_ACCOUNT_SIZE = 165, AT_OWNER = 32, AT_AMOUNT = 64, AT_DELEGATE = 72, AT_STATE = 108, AT_CLOSE_AUTHORITY = 129 };

#define MAGIC 0x31304c4f4f504254ULL /* "TBPOOL01" */
#define HEAP 0x300000000ULL

static const u8 TOKEN_PROGRAM[32] = {6, 221, 246, 225, 215, 101, 161, 147, 217, 203, 225, 70, 206, 235, 121, 172,
                                     28, 180, 133, 237, 95, 91, 55, 145, 58, 140, 245, 133, 126, 255, 0, 169};

typedef struct {
	account accounts[MAX_ACCOUNTS];
	u64 account_count;
	u8 *program_id, *data;
	u64 data_len;
	account_meta metas[3];
	instruction transfer;
	seed seeds[2];
	signer_seeds signer;
	u8 transfer_data[16];
	u8 derived[32];
	u8 bump;
} scratch;

INLINE u64 read_u64(const u8 *at) {
	u64 value = 0;
	for (int i = 7; i >= 0; i--) value = value << 8 | at[i];
	return value;
}

INLINE u64 read_u16(const u8 *at) { return (u64)at[0] | (u64)at[1] << 8; }

INLINE void write_u64(u8 *at, u64 value) {
	for (int i = 0; i < 8; i++, value >>= 8) at[i] = (u8)value;
}

INLINE int same_key(const u8 *left, const u8 *right) {
	u8 difference = 0;
	for (int i = 0; i < 32; i++) difference |= left[i] ^ right[i];
	return difference == 0;
}

INLINE void copy_key(u8 *to, const u8 *from) {
	for (int i = 0; i < 32; i++) to[i] = from[i];
}

/* floor(a * b / divisor) with a 128-bit product. Sets *overflow where the quotient needs more than 64 bits. */
INLINE u64 multiply_divide(u64 a, u64 b, u64 divisor, int *overflow) {
	u64 a_low = a & 0xffffffffULL, a_high = a >> 32, b_low = b & 0xffffffffULL, b_high = b >> 32;
	u64 low_low = a_low * b_low, low_high = a_low * b_high, high_low = a_high * b_low, high_high = a_high * b_high;
	u64 middle = (low_low >> 32) + (low_high & 0xffffffffULL) + (high_low & 0xffffffffULL);
	u64 low = (low_low & 0xffffffffULL) | middle << 32;
	u64 high = high_high + (low_high >> 32) + (high_low >> 32) + (middle >> 32);
	if (high >= divisor) {
		*overflow = 1;
		return 0;
	}
	if (high == 0) return low / divisor;
	u64 quotient = 0;
	for (int bit = 0; bit < 64; bit++) {
		u64 carry = high >> 63;
		high = high << 1 | low >> 63;
		low <<= 1;
		quotient <<= 1;
		if (carry || high >= divisor) {
			high -= divisor;
			quotient |= 1;
		}
	}
	return quotient;
}

/* ceil(a * b / divisor): the remainder is below 64 bits, so products modulo 2^64 show whether there is one. */
INLINE u64 multiply_divide_up(u64 a, u64 b, u64 divisor, int *overflow) {
	u64 quotient = multiply_divide(a, b, divisor, overflow);
	u64 up = a * b != quotient * divisor;
	if (quotient > ~0ULL - up) *overflow = 1;
	return quotient + up;
}

/* Read the VM's serialised input into the heap. An account that repeats an earlier one is an 8-byte reference to it. */
INLINE int parse(u8 *input, scratch *heap) {
	u64 count = *(u64 *)input;
	if (count > MAX_ACCOUNTS) return 0;
	input += 8;
	for (u64 i = 0; i < count; i++) {
		account *into = &heap->accounts[i];
		if (input[0] != 0xff) {
			*into = heap->accounts[input[0]];
			input += 8;
			continue;
		}
		into->is_signer = input[1];
		into->is_writable = input[2];
		into->executable = input[3];
		into->key = input + 8;
		into->owner = input + 40;
		into->lamports = (u64 *)(input + 72);
		into->data_len = *(u64 *)(input + 80);
		into->data = input + 88;
		input = (u8 *)(((u64)into->data + into->data_len + GROWTH_ROOM + 7) & ~7ULL);
		into->rent_epoch = *(u64 *)input;
		input += 8;
	}
	heap->account_count = count;
	heap->data_len = *(u64 *)input;
	heap->data = input + 8;
	heap->program_id = heap->data + heap->data_len;
	return 1;
}

INLINE int is_ours(const scratch *heap, const account *pool) {
	return same_key(pool->owner, heap->program_id) && pool->data_len >= POOL_SIZE;
}

/* A vault nobody but the pool can empty: an initialised SPL token account of the authority, with no delegate and no closer. */
INLINE int is_safe_vault(const account *vault, const u8 *authority) {
	return same_key(vault->owner, TOKEN_PROGRAM) && vault->data_len == TOKEN_ACCOUNT_SIZE && same_key(vault->data + AT_OWNER, authority) &&
	       vault->data[AT_STATE] == 1 && vault->data[AT_DELEGATE] == 0 && vault->data[AT_CLOSE_AUTHORITY] == 0;
}

/* SPL Token `Transfer` by cross-program invocation; signed by the pool where `pool` is given, else by the transaction's signer. */
INLINE u64 transfer(scratch *heap, u64 amount, const account *from, const account *to, const account *owner, const account *pool) {
	heap->metas[0].key = from->key;
	heap->metas[0].is_writable = 1;
	heap->metas[0].is_signer = 0;
	heap->metas[1].key = to->key;
	heap->metas[1].is_writable = 1;
	heap->metas[1].is_signer = 0;
	heap->metas[2].key = owner->key;
	heap->metas[2].is_writable = 0;
	heap->metas[2].is_signer = 1;
	heap->transfer_data[0] = 3;
	write_u64(heap->transfer_data + 1, amount);
	heap->transfer.program_id = (u8 *)TOKEN_PROGRAM;
	heap->transfer.accounts = heap->metas;
	heap->transfer.account_count = 3;
	heap->transfer.data = heap->transfer_data;
	heap->transfer.data_len = 9;
	if (!pool) return sol_invoke_signed_c(&heap->transfer, heap->accounts, heap->account_count, 0, 0);
	heap->bump = pool->data[AT_BUMP];
	heap->seeds[0].bytes = pool->key;
	heap->seeds[0].len = 32;
	heap->seeds[1].bytes = &heap->bump;
	heap->seeds[1].len = 1;
	heap->signer.seeds = heap->seeds;
	heap->signer.len = 2;
	return sol_invoke_signed_c(&heap->transfer, heap->accounts, heap->account_count, &heap->signer, 1);
}

INLINE u64 open_pool(scratch *heap) {
	account *pool = &heap->accounts[0], *authority = &heap->accounts[1], *vault_a = &heap->accounts[2], *vault_b = &heap->accounts[3];
	account *creator = &heap->accounts[4];
	if (heap->data_len != 4 || heap->account_count < 5) return ERROR_BAD_INSTRUCTION;
	if (!is_ours(heap, pool)) return ERROR_WRONG_POOL;
	if (read_u64(pool->data) != 0) return ERROR_ALREADY_OPEN;
	if (read_u16(heap->data + 2) >= BPS) return ERROR_BAD_FEE;
	if (!creator->is_signer) return ERROR_MISSING_SIGNATURE;
	heap->bump = heap->data[1];
	heap->seeds[0].bytes = pool->key;
	heap->seeds[0].len = 32;
	heap->seeds[1].bytes = &heap->bump;
	heap->seeds[1].len = 1;
	if (sol_create_program_address(heap->seeds, 2, heap->program_id, heap->derived) != 0) return ERROR_WRONG_AUTHORITY;
	if (!same_key(heap->derived, authority->key)) return ERROR_WRONG_AUTHORITY;
	if (!is_safe_vault(vault_a, heap->derived) || !is_safe_vault(vault_b, heap->derived)) return ERROR_WRONG_VAULT;
	if (same_key(vault_a->data, vault_b->data)) return ERROR_WRONG_VAULT; /* one mint against itself */
	write_u64(pool->data, MAGIC);
	pool->data[AT_BUMP] = heap->bump;
	pool->data[AT_FEE] = heap->data[2];
	pool->data[AT_FEE + 1] = heap->data[3];
	copy_key(pool->data + AT_MINT_A, vault_a->data);
	copy_key(pool->data + AT_MINT_B, vault_b->data);
	copy_key(pool->data + AT_VAULT_A, vault_a->key);
	copy_key(pool->data + AT_VAULT_B, vault_b->key);
	copy_key(pool->data + AT_CREATOR, creator->key);
	return 0;
}

/* Why the five accounts of a hop are no hop; 0 if they are. */
INLINE u64 wrong_hop(const scratch *heap, const account *at) {
	const account *pool = &at[0], *vault_in = &at[2], *vault_out = &at[3];
	if (!is_ours(heap, pool) || read_u64(pool->data) != MAGIC) return ERROR_WRONG_POOL;
	int a_to_b = same_key(vault_in->key, pool->data + AT_VAULT_A) && same_key(vault_out->key, pool->data + AT_VAULT_B);
	int b_to_a = same_key(vault_in->key, pool->data + AT_VAULT_B) && same_key(vault_out->key, pool->data + AT_VAULT_A);
	return a_to_b || b_to_a ? 0 : ERROR_WRONG_VAULT;
}

/* Turn *amount, wanted from the last hop, into the least that has to go into the first. */
INLINE u64 go_back(const scratch *heap, u64 hops, u64 *amount) {
	for (u64 hop = hops; hop-- > 0;) {
		const account *at = &heap->accounts[3 + hop * ACCOUNTS_PER_HOP];
		u64 failure = wrong_hop(heap, at);
		if (failure) return failure;
		u64 reserve_in = read_u64(at[2].data + AT_AMOUNT), reserve_out = read_u64(at[3].data + AT_AMOUNT);
		if (*amount == 0 || reserve_in == 0 || *amount >= reserve_out) return ERROR_BAD_AMOUNT;
		int overflow = 0;
		u64 net = multiply_divide_up(reserve_in, *amount, reserve_out - *amount, &overflow);
		*amount = multiply_divide_up(net, BPS, BPS - read_u16(at[0].data + AT_FEE), &overflow);
		if (overflow) return ERROR_BAD_AMOUNT;
	}
	return 0;
}

INLINE u64 swap(scratch *heap) {
	if (heap->data_len != 17 || heap->account_count < 3 + ACCOUNTS_PER_HOP) return ERROR_BAD_INSTRUCTION;
	u64 hops = (heap->account_count - 3) / ACCOUNTS_PER_HOP;
	if (hops > MAX_HOPS) return ERROR_BAD_INSTRUCTION;
	account *user = &heap->accounts[0], *source = &heap->accounts[2];
	/* A stand-in for the token program would be handed the pool's signature. */
	if (!same_key(heap->accounts[1].key, TOKEN_PROGRAM)) return ERROR_WRONG_TOKEN_PROGRAM;
	if (!user->is_signer) return ERROR_MISSING_SIGNATURE;
	u64 amount = read_u64(heap->data + 1), min_out = read_u64(heap->data + 9);
	if (heap->data[0] == 3) {
		u64 max_in = min_out;
		min_out = amount;
		u64 failure = go_back(heap, hops, &amount);
		if (failure) return failure;
		if (amount > max_in) return ERROR_SLIPPAGE;
	}
	for (u64 hop = 0; hop < hops; hop++) {
		account *at = &heap->accounts[3 + hop * ACCOUNTS_PER_HOP];
		account *pool = &at[0], *authority = &at[1], *vault_in = &at[2], *vault_out = &at[3], *destination = &at[4];
		u64 failure = wrong_hop(heap, at);
		if (failure) return failure;
		u64 reserve_in = read_u64(vault_in->data + AT_AMOUNT), reserve_out = read_u64(vault_out->data + AT_AMOUNT);
		int overflow = 0;
		u64 net = multiply_divide(amount, BPS - read_u16(pool->data + AT_FEE), BPS, &overflow);
		if (net == 0 || reserve_in == 0 || reserve_out == 0 || amount > ~0ULL - reserve_in) return ERROR_BAD_AMOUNT;
		u64 out = multiply_divide(net, reserve_out, reserve_in + net, &overflow);
		if (overflow || out == 0) return ERROR_BAD_AMOUNT;
		if (hop + 1 == hops && out < min_out) return ERROR_SLIPPAGE;
		failure = transfer(heap, amount, source, vault_in, user, 0);
		if (failure) return failure;
		failure = transfer(heap, out, vault_out, destination, authority, pool);
		if (failure) return failure;
		sol_log_64_(amount, out, reserve_in, reserve_out, read_u16(pool->data + AT_FEE));
		amount = out;
		source = destination;
	}
	write_u64(heap->transfer_data, amount);
	sol_set_return_data(heap->transfer_data, 8);
	return 0;
}

INLINE u64 withdraw(scratch *heap) {
	account *creator = &heap->accounts[0], *pool = &heap->accounts[2], *authority = &heap->accounts[3];
	account *vault_a = &heap->accounts[4], *vault_b = &heap->accounts[5], *to_a = &heap->accounts[6], *to_b = &heap->accounts[7];
	if (heap->data_len != 17 || heap->account_count < 8) return ERROR_BAD_INSTRUCTION;
	if (!same_key(heap->accounts[1].key, TOKEN_PROGRAM)) return ERROR_WRONG_TOKEN_PROGRAM;
	if (!is_ours(heap, pool) || read_u64(pool->data) != MAGIC) return ERROR_WRONG_POOL;
	if (!same_key(creator->key, pool->data + AT_CREATOR)) return ERROR_NOT_CREATOR;
	if (!creator->is_signer) return ERROR_MISSING_SIGNATURE;
	if (!same_key(vault_a->key, pool->data + AT_VAULT_A) || !same_key(vault_b->key, pool->data + AT_VAULT_B)) return ERROR_WRONG_VAULT;
	u64 failure = transfer(heap, read_u64(heap->data + 1), vault_a, to_a, authority, pool);
	return failure ? failure : transfer(heap, read_u64(heap->data + 9), vault_b, to_b, authority, pool);
}

u64 entrypoint(u8 *input) {
	scratch *heap = (scratch *)HEAP;
	if (!parse(input, heap) || heap->data_len == 0) return ERROR_BAD_INSTRUCTION;
	if (heap->data[0] == 0) return open_pool(heap);
	if (heap->data[0] == 1 || heap->data[0] == 3) return swap(heap);
	if (heap->data[0] == 2) return withdraw(heap);
	return ERROR_BAD_INSTRUCTION;
}
