// A shop in Node 18 or newer, without a package: it pays, queries, refunds and takes notifications.
//   chaoying sandbox --fault notify-forged      (prints the variables to export)
//   node node_shop.mjs                          (ends with status 0 if everything adds up)
// To keep: what is unclear is queried, never paid again; what is not signed is not believed.
import { createHash, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const { CHAOYING_URL: gateway, CHAOYING_KEY: key, CHAOYING_AGENT_ID: agent_id, CHAOYING_PID: pid } = process.env;
const { CHAOYING_MCH_ID: mch_id, CHAOYING_OP_USER_ID: op_user_id = "till1" } = process.env;
const { SHOP_HOST: host = "127.0.0.1", QUERY_EVERY: every = "5" } = process.env; // seconds

export function sign(fields, secret = key) {
  const pairs = Object.entries(fields).filter(([name, value]) => name !== "sign" && value !== "" && value !== null);
  // "a=1&b=2" is what {a: "1", b: "2"} signs, and {a: "1&b=2"}: a value like that is for nobody.
  if (pairs.some(([, value]) => /&[A-Za-z_]\w*=/.test(value))) throw new Error("ambiguous: not signed");
  const text = pairs.map((pair) => pair[0]).sort().map((name) => `${name}=${fields[name]}`).join("&");
  return createHash("md5").update(`${text}&key=${secret}`, "utf8").digest("hex").toUpperCase();
}

export function isSigned(fields) {
  const [given, right] = [Buffer.from(String(fields.sign ?? "").toUpperCase()), Buffer.from(sign(fields))];
  return given.length === right.length && timingSafeEqual(given, right);
}

async function call(method, fields, path = "/UnifiedPay/Gateway") {
  const form = { agent_id, pid, version: "1.0", ...(method && { method }), mch_id, ...fields };
  const body = new URLSearchParams({ ...form, sign: sign(form) });
  const signal = AbortSignal.timeout(30_000);
  const response = await fetch(gateway + path, { method: "POST", body, redirect: "error", signal });
  const reply = response.status === 200 ? await response.json() : {};
  const maybeUnsigned = path.startsWith("/Open/") && reply.state === "SUCCESS"; // a pre-order proves no payment
  if (isSigned(reply) || (maybeUnsigned && reply.sign === undefined)) return reply;
  throw new Error(`${method || path}: no answer that can be believed`);
}

async function isPaid(order) { // true: paid; false: over and not paid; until then it is asked about
  for (let asked = 0; asked < 36; asked += 1) {
    const { paytype, out_trade_no } = order;
    const { state, trade_state, code, ...about } = await call("orderquery", { paytype, out_trade_no }).catch(() => ({}));
    if (state === "SUCCESS" && trade_state === "SUCCESS" && code === "10000") return fits(order, about, "base_fee");
    if (trade_state === "FAIL" && ["10004", "10005", "10006"].includes(code)) return false;
    await sleep(every * 1000);
  }
  throw new Error(`${order.out_trade_no}: not known. Look at the books before you sell it again.`);
}

function fits(order, about, amount) { // base_fee is the order amount; a notification has total_fee alone
  if (about.out_trade_no === order.out_trade_no && about[amount] === String(order.total_fee)) return true;
  throw new Error(`${order.out_trade_no}: another order or amount. A person has to look.`);
}

function notified(orders, body) { // the exact answer; a database would commit before "success"
  const pairs = [...new URLSearchParams(body)];
  const fields = Object.fromEntries(pairs);
  if (pairs.length !== Object.keys(fields).length || !isSigned(fields)) throw new Error("forged");
  const order = orders.get(fields.out_trade_no);
  if (order === undefined || fields.mch_id !== mch_id) throw new Error("nobody's order");
  const paid = fields.state === "SUCCESS" && fields.result_code === "SUCCESS" && fields.pay_result === "0";
  if (paid && fits(order, fields, "total_fee")) order.shipped = true; // once, however often it comes
  return "success";
}

async function main() {
  const [number, paytype] = [`N${Date.now()}`, "WECHAT"];
  const sale = { out_trade_no: `${number}1`, total_fee: 1230 };
  await call("pay", { ...sale, body: "coffee", auth_code: "130000000000000001" }).catch(console.error);
  if (!(await isPaid({ ...sale, paytype }))) throw new Error("the customer did not pay");
  console.log(`${sale.out_trade_no} is paid`);
  const out_refund_no = `${number}R`; // unclear: it is queried under this number, never sent under another
  await call("refund", { ...sale, paytype, out_refund_no, refund_fee: 230, op_user_id }).catch(console.error);
  for (let status; status !== "SUCCESS"; await sleep(every * 1000)) {
    const { refund_list = "[]" } = await call("refundquery", { paytype, out_refund_no }).catch(() => ({}));
    status = JSON.parse(refund_list).find((each) => each.out_refund_no === out_refund_no)?.refund_status;
    if (["FAIL", "CHANGE", "NOTSURE"].includes(status)) throw new Error(`the refund needs a person: ${status}`);
  }
  console.log(`${out_refund_no} is refunded`);
  const order = { paytype, out_trade_no: `${number}2`, total_fee: 990, shipped: false };
  const orders = new Map([[order.out_trade_no, order]]);
  const server = createServer(async (request, response) => {
    let [body, answer] = ["", "fail"];
    for await (const part of request.setEncoding("utf8")) if ((body += part).length > 65_536) return request.destroy();
    try { answer = notified(orders, body); } catch (error) { console.log(`refused: ${error.message}`); }
    response.writeHead(200, { "content-type": "text/plain" }).end(answer, () => order.shipped && server.emit("shipped"));
  }).listen(0, host);
  await once(server, "listening");
  const shipped = once(server, "shipped");
  const wish = { out_trade_no: order.out_trade_no, total_fee: 990, body: "tea", trade_type: "NATIVE", product_id: "1" };
  wish.notify_url = `http://${host}:${server.address().port}/notify`;
  const { code_url } = await call("", wish, "/Open/WECHAT_PreOrder");
  console.log(`show the customer a QR code of ${code_url}`);
  await shipped; // and beside it ask isPaid(order) every minute: notifications may never come
  if (!(await isPaid(order))) throw new Error("shipped, and not paid");
  console.log(`${order.out_trade_no} is paid and shipped`);
  server.close();
}

if (process.argv[1]?.endsWith("node_shop.mjs")) await main();
