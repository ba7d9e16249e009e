"""The Chinese of help texts, a paragraph each, and of click's own texts."""

from __future__ import annotations

from collections.abc import Mapping

CLICK: Mapping[str, str] = {
    "Options": "选项",
    "Commands": "命令",
    "Positional arguments": "参数",
    "Show the version and exit.": "显示版本号。",
    "Show this message and exit.": "显示本帮助。",
    "env var: {}": "环境变量：{}",
    "default: {}": "默认：{}",
    "required": "必填",
    "Try '{}' for help.": "用 `{}` 查看帮助。",
    "Error: {}": "错误：{}",
    "Missing command.": "缺少命令。",
    "Missing argument {}.": "缺少参数 {}。",
    "Missing argument {}. {}": "缺少参数 {}。{}",
    "Missing option {}.": "缺少选项 {}。",
    "Missing option {}. {}": "缺少选项 {}。{}",
    "Missing option {} (env var: {}).": "缺少选项 {}（环境变量 {}）。",
    "Choose from:\n\t{}": "可选值：\n\t{}",
    "No such option {}.": "没有选项 {}。",
    "No such option {}. {}": "没有选项 {}。{}",
    "No such option: {}": "没有选项 {}。",
    "No such option: {} {}": "没有选项 {}。{}",
    "No such command {}.": "没有命令 {}。",
    "No such command {}. {}": "没有命令 {}。{}",
    "(Did you mean {}?)": "（是不是 {}？）",
    "Did you mean {}?": "是不是 {}？",
    "(Did you mean one of: {}?)": "（是不是其中之一：{}？）",
    "(Possible options: {})": "（是不是其中之一：{}？）",
    "Invalid value: {}": "值不正确：{}",
    "Invalid value for {}: {}": "{} 的值不正确：{}",
    "{} is not one of {}.": "{} 不在可选值之中：{}。",
    "{} is not a valid integer.": "{} 不是整数。",
    "{} is not a valid integer range.": "{} 不是整数。",
    "{} is not a valid float.": "{} 不是数字。",
    "{} is not a valid float range.": "{} 不是数字。",
    "{} is not in the range {}.": "{} 不在范围 {} 之内。",
    "Got unexpected extra argument ({})": "多余的参数（{}）",
    "Got unexpected extra arguments ({})": "多余的参数（{}）",
    "Option {} requires an argument.": "选项 {} 需要一个值。",
    "Option {} does not take a value.": "选项 {} 不带值。",
    "{} does not exist.": "{} 不存在。",
    "{} is a directory.": "{} 是目录。",
    "{} is not readable.": "{} 无法读取。",
    "{} is not writable.": "{} 无法写入。",
    "File {}": "文件 {}",
    "Path {}": "路径 {}",
    "Could not open file {}: {}": "无法打开文件 {}：{}",
}

_PROGRAM: Mapping[str, str] = {
    "The 超赢 payment gateway from a terminal: a sandbox of it, and calls to the real one.": (
        "在终端里使用超赢支付网关：本机沙箱，以及对真实网关的调用。"
    ),
    "As whom: CHAOYING_AGENT_ID, CHAOYING_KEY, CHAOYING_PID, and optionally CHAOYING_VERSION, CHAOYING_ALGORITHM, CHAOYING_MCH_ID, CHAOYING_OP_USER_ID, CHAOYING_URL, from the environment. A key that is not there is asked for, and not shown; it is never an option.": (
        "身份取自环境变量 CHAOYING_AGENT_ID、CHAOYING_KEY、CHAOYING_PID；可选的有 CHAOYING_VERSION、CHAOYING_ALGORITHM、"
        "CHAOYING_MCH_ID、CHAOYING_OP_USER_ID、CHAOYING_URL。没有设置密钥时会提示输入，输入内容不回显；密钥不能写成选项。"
    ),
    "Exit codes: 0 it went well 1 refused, or failed 2 the command is wrong, or something is missing; nothing was sent 3 outcome unknown: money may have moved; query before anything else 4 no usable answer 5 an answer that cannot be read or trusted 6 not decided yet: ask again 7 paid, and nobody compared the amount with what the order costs 130 interrupted": (
        "退出码：\n"
        "  0    成功\n"
        "  1    被拒绝或失败\n"
        "  2    命令有误或缺少内容，什么都没发出\n"
        "  3    结果未知，资金可能已变动：先查询，再做别的\n"
        "  4    没有得到可用的响应\n"
        "  5    响应无法解析或不可信\n"
        "  6    尚无最终结果：稍后再查\n"
        "  7    已支付，但没有人核对过金额\n"
        "  130  被中断"
    ),
    "One JSON line on stdout, for programs.": "在标准输出给出一行 JSON，供程序读取。",
    "Default: any free one.": "默认：任一空闲端口。",
    "Where to listen.": "监听地址。",
    "Default: CHAOYING_ALGORITHM.": "默认取 CHAOYING_ALGORITHM。",
    "Default: CHAOYING_AGENT_ID.": "默认取 CHAOYING_AGENT_ID。",
    "Default: CHAOYING_PID.": "默认取 CHAOYING_PID。",
    "Default: CHAOYING_MCH_ID.": "默认取 CHAOYING_MCH_ID。",
    "A sandbox, or a gateway behind a proxy of yours; default: production.": (
        "沙箱的地址，或经你自己的反向代理访问的网关；默认：生产环境。"
    ),
    "Addresses of production: as printed in v2.9.0, or as printed last.": (
        "生产环境的域名：按 v2.9.0 文档，或按最新的文档。"
    ),
    "At most so many queries at once.": "同时进行的查询数上限。",
}

_SANDBOX: Mapping[str, str] = {
    "Serve the gateway on a port of this machine, until interrupted.": (
        "在本机端口上运行沙箱网关，直到按下 Ctrl-C。"
    ),
    "Prints its address, key and merchant, the console for a browser, and what to put into the environment of other commands. The last three digits of an amount choose what happens to a payment: see --scenarios. With --host, the token is CHAOYING_SANDBOX_TOKEN, or one that is made and printed.": (
        "启动时打印地址、密钥、商户号、网页控制台的网址，以及其他命令要用的环境变量。金额的末三位决定这笔支付会怎样，见 "
        "--scenarios。使用 --host 时需要令牌：取自 CHAOYING_SANDBOX_TOKEN，没有则自动生成并打印。"
    ),
    "Another address lets other machines in; all but the gateway then needs a token.": (
        "换成别的地址后，其他机器也能访问；此时除网关接口外都需要令牌。"
    ),
    "How others reach it, where that is another address (a container's name, a proxy).": (
        "其他机器访问沙箱所用的地址，与监听地址不同时填写（容器名、反向代理）。"
    ),
    "Run time so many times as fast.": "让沙箱时间以这个倍速运行。",
    "The same seed gives the same key and nonces.": "种子相同，密钥和随机串就相同。",
    "Sign successes only, as the later document says.": "只对成功的响应签名，与较新的文档一致。",
    "Sort names without regard to case before signing.": "签名前按不区分大小写的顺序排列参数名。",
    "Pages for a browser; default: with.": "网页控制台；默认开启。",
    "Notify what was paid, not the order amount.": "异步通知里的 total_fee 给实付金额，而不是订单金额。",
    "Keep the books in a SQLite file, over restarts.": "账目存入 SQLite 文件，重启后仍在。",
    "Break something on purpose, as in pay/reset-after:0.1; may be repeated.": (
        "故意制造故障，例如 pay/reset-after:0.1；可以写多次。"
    ),
    "List scenarios, faults, and what sets them off.": "列出全部场景和故障，以及如何触发。",
    "Take payments against a sandbox in its own process, and compare the books.": (
        "在另一个进程里启动沙箱，对它收款，最后核对双方账目。"
    ),
    "Exit code 0 when everything adds up, to the fen, and 1 when it does not.": (
        "账目一分不差时退出码为 0，否则为 1。"
    ),
    "How many.": "收款笔数。",
    "Make a running sandbox produce an event: true, forged, duplicate, late, of a wrong amount ...": (
        "让运行中的沙箱产生一个事件：真实、伪造、重复、迟到、金额不符的通知等。"
    ),
    "A notification without ORDER (out_trade_no) is about an order that nobody made; it then needs --notify-url. Exit code 0 when it was done; with a notification, whatever your program answered: that is shown. `chaoying trigger --list` shows all events.": (
        "不给 ORDER（out_trade_no）时，通知说的是一笔没有人下过的订单，这时必须给 --notify-url。"
        "事件已产生时退出码为 0；对于通知，不论你的程序怎样应答都是 0，应答内容会显示出来。全部事件见 `chaoying trigger --list`。"
    ),
    "Default: the order's own.": "默认：订单自己的通知地址。",
    "Default: the sandbox's first that is enabled.": "默认：沙箱的第一个已启用的商户。",
    "Without ORDER.": "没有给 ORDER 时使用。",
    "In fen, digits only; for an order that nobody made.": "单位：分，只写数字；用于没有人下过的订单。",
    "Seconds of the sandbox's clock to wait.": "推迟的秒数，按沙箱时间。",
    "With fault: the same seed breaks the same requests.": "与 fault 一起使用：种子相同，出故障的请求就相同。",
    "List the events.": "列出全部事件。",
    "Let a running sandbox notify of an order's end once more.": "让运行中的沙箱再发送一次订单的异步通知。",
    "Exit code 0: accepted with `success`; 1: not accepted.": "退出码 0：对方应答了 `success`；1：没有被接受。",
    "All orders whose notifications nobody accepted.": "所有通知未被接受的订单。",
}

_GATEWAY: Mapping[str, str] = {
    "Receive result notifications (支付结果通知) here: verify, show, pass on.": (
        "在本机接收支付结果的异步通知：验签、显示、转发。"
    ),
    "Any path works; put the printed address into notify_url. What does not verify is answered `fail`, and the signature doctor's findings are shown. What does is answered `success` when it is safe: kept in --log, or taken by the program behind --forward, which is tried three times within the gateway's three seconds (for hours with --log). Without both it is only shown.": (
        "任何路径都可以；把打印出来的地址填入 notify_url。验签不通过的通知应答 `fail`，并显示签名诊断的结论。"
        "验签通过的，落妥之后才应答 `success`：已写入 --log，或 --forward 后面的程序已接受；转发会在网关等待的三秒之内尝试三次"
        "（有 --log 时持续数小时）。两者都没有给时，只显示通知。"
    ),
    "Pass verified ones on to here.": "把验签通过的通知转发到这个地址。",
    "Keep verified ones, whole, in a file; what was not passed on yet is taken up.": (
        "把验签通过的通知完整写入文件；上次没有转发成功的会继续转发。"
    ),
    "End after so many deliveries.": "收到这么多次通知后结束。",
    "Ask a gateway whether everything is what we think. Reads only, moves nothing.": (
        "检查网关与你的配置是否一致。只做查询，不动资金。"
    ),
    "Two calls: GetMchInfo (获取超赢商户基础信息) for the merchant, and orderquery (订单查询) for a number that cannot exist. The other hosts are connected to, with TLS, and asked nothing. Exit code 0: all is as we think; 1: something is not; 4 and 5: no answer, or none to be trusted.": (
        "调用两个接口：用 GetMchInfo（获取超赢商户基础信息）查商户，用 orderquery（订单查询）查一个不可能存在的订单号。其余域名只建立 TLS 连接，不发请求。"
        "退出码 0：全部一致；1：有不一致；4、5：没有响应，或响应不可信。"
    ),
    "Ask how an order ended (订单查询, orderquery).": "查询订单的结果（订单查询，orderquery）。",
    "OUT_TRADE_NO is your own number (商户订单号). An end that does not name its order is asked about a second time. Exit code 0: paid; 6: not decided yet; 1: over and not paid, in refund, or not found.": (
        "OUT_TRADE_NO 是你自己的商户订单号。没有写明订单的终态会再查一次。退出码 0：已支付；6：尚无最终结果；1：已结束且未支付、已转入退款或查无此单。"
    ),
    "Left out, each wallet is asked in turn until one knows the number.": (
        "不填时逐个支付渠道查询，直到查到这个单号。"
    ),
    "Ask how a refund ended (退款查询, refundquery).": "查询退款的结果（退款查询，refundquery）。",
    "OUT_REFUND_NO is the refund's own number (商户退款单号), never the order's. Every refund of its order has a row, with its own end. Exit code, as of `watch --refunds`, by the one that was asked about: 0 refunded; 6 not decided yet, or to be sent again; 1 failed, for a person, or not found.": (
        "OUT_REFUND_NO 是商户退款单号，不是订单号。同一订单的每笔退款占一行，各有各的结果。退出码只看所查的这一笔，与 "
        "`watch --refunds` 相同：0 已退款；6 尚无最终结果，或需用原单号重发；1 失败、需人工处理或查无此单。"
    ),
    "Ask about orders (or refunds) until it is known how each ended. Reads only.": (
        "把一批订单（或退款）跟踪到确定的结果。只做查询。"
    ),
    "NUMBER is your own number (商户订单号 or 商户退款单号). With an AMOUNT, in fen or with a decimal point in yuan, an order that is paid with another one is told apart. In a FILE a line is a JSON object or a CSV row with out_trade_no, and if you like paytype, mch_id, expected. Ctrl-C leaves, and says what is still pending.": (
        "NUMBER 是你自己的商户订单号或商户退款单号。给出 AMOUNT（单位分；带小数点时为元）后，实付金额不同的订单会单独标出。"
        "FILE 的每一行是一个 JSON 对象或一行 CSV，含 out_trade_no，还可以有 paytype、mch_id、expected。"
        "按 Ctrl-C 退出，并列出仍未结束的单号。"
    ),
    "Exit code 0: all are paid (or refunded). Else the worst of them: 5 another amount than expected; 6 not decided yet; 1 over and not paid, not found, refused; 130 interrupted.": (
        "退出码 0：全部已支付（或已退款）。否则取其中最严重的：5 金额与预期不符；6 尚无最终结果；1 已结束且未支付、查无此单或被拒绝；130 被中断。"
    ),
    "JSON lines or CSV; - is stdin, read as it comes.": "每行一个 JSON，或 CSV；- 表示标准输入，边读边查。",
    "The numbers are refunds' (out_refund_no).": "给出的是商户退款单号（out_refund_no）。",
    "For all lines that name none.": "用于没有写明的行。",
    "For all lines that name none. Default: CHAOYING_MCH_ID.": "用于没有写明的行。默认取 CHAOYING_MCH_ID。",
    "When to ask; default: payments (5 s, to 3 min), with --refunds refunds (15 days).": (
        "查询的时间表；默认：支付（每 5 秒，最长 3 分钟），用 --refunds 时为退款（15 天）。"
    ),
    "Seconds between two queries, instead.": "改用固定的查询间隔（秒）。",
    "Seconds after which it is undecided, instead.": "改用这个时限（秒），到时仍无结果即停止跟踪。",
    "At most so many queries a second.": "每秒查询数上限。",
    "Keep what is pending in a SQLite file: the next watch on it goes on, and tells the rest. A shop's orders there stay the shop's.": (
        "把未结束的单号存入 SQLite 文件：下次用同一文件继续跟踪，并给出其余结果。其中网店的订单仍归网店。"
    ),
    "Sign a message (签名): a form, a JSON object, or fields as NAME=VALUE.": (
        "对报文签名：表单、JSON 对象，或 NAME=VALUE 形式的字段。"
    ),
    "Shows the text that is signed, without the key and with personal values as ***, and the sign. A sign that the message has already takes no part.": (
        "显示待签名串（不含密钥，个人信息显示为 ***）和签名。报文里已有的 sign 不参与计算。"
    ),
    "Verify the sign of a message (验签): a form, a JSON reply, or fields as NAME=VALUE.": (
        "对报文验签：表单、JSON 响应，或 NAME=VALUE 形式的字段。"
    ),
    "Exit code 0: right, in one of the two orders of names; 1: wrong, missing or ambiguous. `chaoying doctor` looks for the mistake that explains a wrong one.": (
        "退出码 0：按两种参数名排序之一，签名正确；1：签名错误、缺失或有歧义。签名错误的原因可用 `chaoying doctor` 查找。"
    ),
    "Find the mistake behind a wrong signature (签名错误).": "签名诊断：找出签名错误的原因。",
    "The message is a body as it came, a query with or without its URL, or a JSON reply, from a file or stdin; NAME=VALUE fields tell less. With --sign it explains the difference between the other side's sign and ours. Exit code 0: the sign is right; 1: it is not.": (
        "报文可以是收到的原始请求体、查询串（带不带网址均可）或 JSON 响应，来自文件或标准输入；只给 NAME=VALUE 字段时能看出的问题较少。"
        "用 --sign 给出对方的签名，可以解释双方签名为何不同。退出码 0：签名正确；1：不正确。"
    ),
    "The sign that the other side computed; default: the message's own.": (
        "对方算出的签名；默认取报文里的 sign。"
    ),
    "Accept nothing that a strict gateway would not.": "严格的网关不接受的，一律不接受。",
    "Describe all calls (openapi) or both notifications (asyncapi) to programs.": (
        "给出机器可读的接口描述：全部接口（openapi）或两种通知（asyncapi）。"
    ),
    "Prints a JSON document, OpenAPI 3.1 or AsyncAPI 3.0: for making a client in another language, and for checking messages. Signing is yours: the document says how. Nothing is sent. A running sandbox serves the same at /openapi.json and /asyncapi.json.": (
        "输出 OpenAPI 3.1 或 AsyncAPI 3.0 的 JSON 文档，可用来生成其他语言的客户端，或校验报文。签名要由你自己实现，规则写在文档里。"
        "不发送任何请求。运行中的沙箱也在 /openapi.json 和 /asyncapi.json 提供同样的内容。"
    ),
    "语言; default: as LANG says, or en.": "输出语言；默认按 LANG，否则为 en。",
}

_SEND: Mapping[str, str] = {
    "Send any request of the document.": "发送文档中的任一请求。",
    'Amounts are fen; with a decimal point, yuan. "-" as a value is asked for, and not shown. A value that the document\'s table lacks is given with two equals signs: paytype==ECNY. What moves money is confirmed first, and goes to production with --production only.': (
        "金额单位为分，带小数点时为元。值写成 “-” 表示稍后提示输入，输入内容不回显。"
        "文档取值表里没有的值用两个等号：paytype==ECNY。资金类请求会先请你确认，且只有加上 --production 才会发往生产环境。"
    ),
    "(required)": "（必填）",
    "(required) {}": "（必填）{}",
    "(required, or {})": "（必填，或设置 {}）",
    "Digits are fen, with a decimal point yuan: 1230 or 12.30.": "纯数字为分，带小数点为元：1230 或 12.30。",
    "asked for, with -": "写 - 则提示输入",
    "An undocumented parameter.": "文档之外的参数。",
    "Draw code_url; default: on a terminal.": "把 code_url 画成二维码；默认：在终端上才画。",
    "Do not ask before money moves.": "资金类请求不再确认。",
    "Let real money move.": "允许动用真实资金。",
    "The scanned link (二维码).": "扫到的链接（二维码内容）。",
}

_FLEET: Mapping[str, str] = {
    "Serve a fleet: ask about the orders that were handed over, give their outcomes to tasks.": (
        "作为集群的一员：查询交来的订单，把结果交给任务处理。"
    ),
    "As many of these may run as you like, on as many machines. Each takes its share of the shards; what a dead one had, the others take over. SIGTERM or Ctrl-C: queries and tasks under way end (10 s at most), the shards are handed back, and the process ends, within --grace seconds. A second signal ends it at once, and nothing is lost by that.": (
        "进程数和机器数不限，每个进程分得一部分分片；某个进程挂掉后，它的分片由其他进程接手。收到 SIGTERM 或 Ctrl-C 后，"
        "进行中的查询和任务先收尾（最多 10 秒），交还分片，并在 --grace 秒之内退出。再来一个信号则立即退出，不会丢单。"
    ),
    "What a store of one owner keeps in the same database becomes the fleet's once its owner has ended, and does not go back: a shop that goes on without a fleet would not see it again.": (
        "同一数据库里若有单进程存储，其所有者退出后，内容归集群所有，不再退回：网店若继续不用集群，就再也看不到这些订单。"
    ),
    "A SQLite file or a SQLAlchemy URL; default: CHAOYING_STORE.": (
        "SQLite 文件或 SQLAlchemy 地址；默认取 CHAOYING_STORE。"
    ),
    "Of the tables.": "表名前缀。",
    "The task of the orders that name none; called with outcome=.": (
        "没有写明任务的订单由它处理；以 outcome= 调用。"
    ),
    "What runs the tasks; then --then is the name of one. APP: a Celery app, or a CeleryQueue"
    " of your own. Default: this process.": (
        "由谁执行任务，此时 --then 写任务名。APP 是 Celery app，或自己设置好的 CeleryQueue。默认：本进程。"
    ),
    "Where modules are found first.": "优先从这个目录查找模块。",
    "Into how many the orders are cut; the same for every process.": "订单分成多少个分片；所有进程必须一致。",
    "All orders of a merchant in one shard.": "同一商户的订单放在同一个分片。",
    "Seconds after which the shards of a dead process are taken over.": "进程挂掉后，过多少秒由其他进程接手它的分片。",
    "Queries a second, of the whole fleet.": "整个集群每秒的查询数。",
    "How long a business order that has ended is kept, so that it is not charged again.": "已结束的业务订单保留多少天，以免再次收款。",
    "The same for one merchant.": "单个商户每秒的查询数。",
    "At most so many queries at once, in this process.": "本进程同时进行的查询数上限。",
    "For orders that name none. Default: CHAOYING_MCH_ID.": "用于没有写明商户号的订单。默认取 CHAOYING_MCH_ID。",
    "Of this process, in `status`; no other process may have it.": "本进程在 `status` 里的名字，不能与其他进程重复。",
    "Answer GET /health and GET /ready there, with the extra [prometheus] GET /metrics too; needs the extra [sandbox].": (
        "在这个端口响应 GET /health 和 GET /ready，装了 [prometheus] 还有 GET /metrics；需要安装 [sandbox]。"
    ),
    "With --port: read the numbers of the whole fleet from its tables so often, for /metrics; one process is enough.": (
        "与 --port 一起使用：每隔这么多秒从数据表读取整个 fleet 的数字，供 /metrics 使用；一个进程设了就够。"
    ),
    "Seconds from a signal to the end of the process, at the latest.": "收到信号后，最迟多少秒退出。",
    "What is written to stderr.": "写到标准错误的日志级别。",
    "Cut the orders of a fleet into another number of shards, while nobody serves it.": (
        "在集群停止期间，改变订单的分片数。"
    ),
    "End all its processes first; while one lives, this says which, and changes nothing. Then start them with the new number. Processes that only hand orders over may stay.": (
        "先停掉集群的所有进程；只要还有一个在运行，就会指出是哪个，且不做任何改动。改完后用新的分片数启动。只负责交来订单的进程不必停。"
    ),
    "Default: as it is.": "默认：保持不变。",
    "Let a business order be charged again: a person found that it is unpaid, or paid back.": (
        "放行业务订单，允许再次收款：有人核实它未付，或已退款。"
    ),
    "For an order of fleet.checkout whose last attempt ended UNKNOWN, PAID_AFTER_CANCEL or PAID_EARLIER; ORDER_NO is the business order's number, without that of the attempt. It shows what is kept of the order and asks first, since nobody can check what you say: who is wrong charges a customer twice. Query the number, and look into the bank's books, before.": (
        "用于 fleet.checkout 的订单，最后一次收款的结果为 UNKNOWN、PAID_AFTER_CANCEL 或 PAID_EARLIER。ORDER_NO 是业务订单号，不带第几次收款的编号。"
        "命令先显示保存的记录，再请你确认：你的说法程序无从核实，弄错会让顾客付两次。放行之前，先查询单号，再核对银行账目。"
    ),
    "Exit code 1 where the fleet has no such order, 6 while its last attempt is under way.": (
        "集群里没有这笔订单时退出码为 1，最后一次收款仍在进行时为 6。"
    ),
    "The numbers of a whole fleet. Reads only: nothing is taken from who serves.": (
        "整个集群的统计。只读，不影响正在运行的进程。"
    ),
    "Exit code 0 where every shard is served, 1 where some are not.": "每个分片都有进程负责时退出码为 0，否则为 1。",
    "By merchant too; that reads every row of the fleet.": "同时按商户统计；会读取集群的每一行。",
}

_INBOX: Mapping[str, str] = {
    "What could not take effect: list it, and say what to do. A running handler then acts.": (
        "列出未能生效的通知，并决定如何处理；由运行中的处理程序执行。"
    ),
    "Quarantined orders and messages that were set aside stay until somebody decides. `retry` decides again with what the shop knows today; `apply` runs on_paid without judging the amount again: its own WHERE still decides; `dismiss` leaves it at that.": (
        "被隔离的订单和被搁置的通知会一直保留，直到有人作出决定。`retry` 按商户系统现在的数据重新判断；`apply` 不再核对金额，直接执行 "
        "on_paid，是否生效仍由它自己的 WHERE 条件决定；`dismiss` 表示不再处理。"
    ),
    "Run on_paid for it, without judging the amount again; asks first. {}": "不再核对金额，直接执行 on_paid；执行前会请你确认。{}",
    "Where another amount was paid, first let your own row say what was paid (reprice it): the WHERE of your on_paid still decides, and on_paid is tried again.": "如果实付金额不同，请先把你自己的订单金额改成实付金额：是否生效仍由 on_paid 的 WHERE 条件决定，on_paid 会再次执行。",
    "Of the tables, or of the keys in Redis.": "表名前缀，或 Redis 键的前缀。",
    "One message, by the digits that `list` shows.": "指定一条通知，用 `list` 显示的那串字符。",
    "Do not ask first.": "不再确认。",
    "Nothing is to be done about it any more.": "不再处理。",
    "What waits: messages set aside, and orders quarantined or being worked on, oldest first.": (
        "列出待处理的：被搁置的通知、被隔离或正在处理的订单，最早的在前。"
    ),
    "Forget the bodies of what ended before then; with --keys the orders themselves.": (
        "清除在此之前已结束的通知正文；加 --keys 则连同订单记录一起清除。"
    ),
    "A redelivery of an order that was forgotten would take effect again.": (
        "订单记录清除之后，同一通知若再次送达，会再次生效。"
    ),
    "Forget the orders too, none inside the window.": "订单记录也清除，去重窗口之内的除外。",
    "Decide again, with what the shop knows today.": "按商户系统现在的数据重新判断。",
}

_EXPLAIN: Mapping[str, str] = {
    "Explain one order: what is proven, what is not, what to do next, and why.": (
        "说明一笔订单：哪些已证实，哪些没有，下一步做什么，以及原因。"
    ),
    "Asks the gateway (orderquery and refundquery, which move nothing), reads a poll store, an inbox and an audit log where they are given, and holds them against each other. Nothing is changed.": (
        "查询网关（orderquery 和 refundquery，不动资金），并读取给出的轮询存储、收件箱和审计日志，把它们互相核对。不改动任何内容。"
    ),
    "Exit code 0: it is paid, and all that was asked agrees; 6: not decided yet, or its effect or its outcome is still to come; 1: over and not paid, in refund, not found, or something for a person; 3: what was asked contradicts each other, or a payment was sent and nobody knows what became of it; 4: the gateway gave no answer; 5: an answer that cannot be trusted, or another amount; 7: it is paid, and nobody compared the amount (--expected).": (
        "退出码 0：已支付，且所有来源一致；6：尚无最终结果、尚未生效，或结果尚未取走；1：已结束且未支付、已转入退款、查无此单，或需人工处理；"
        "3：来源互相矛盾，或支付已发出而结果不明；4：网关没有响应；5：响应不可信，或金额不符；7：已支付，但没有人核对过金额（--expected）。"
    ),
    "A refund to ask about, where no store or log names it; its answer lists the others.": (
        "要查询的退款单号，用于存储和日志里都没有的退款；其响应会列出其余各笔。"
    ),
    "What the order costs, in fen; else the amount that a store, a log or the inbox has.": (
        "订单的应付金额，单位分；不填时取存储、日志或收件箱里记录的金额。"
    ),
    "A poll store, with a fleet's tables or without: a SQLite file or a SQLAlchemy URL.": (
        "轮询存储，有没有集群的表都可以：SQLite 文件或 SQLAlchemy URL。"
    ),
    "Of the store's tables.": "轮询存储的表名前缀。",
    "The inbox: a SQLite file, a SQLAlchemy URL, or redis://...": (
        "收件箱：SQLite 文件、SQLAlchemy URL 或 redis://...。"
    ),
    "Of the inbox's tables, or of its keys in Redis.": "收件箱的表名前缀，或 Redis 键的前缀。",
    "A file with a line for each exchange, as Exchange.line writes it.": (
        "每行一次请求的文件，由 Exchange.line 写出。"
    ),
}

HELP: Mapping[str, str] = {
    **CLICK,
    **_PROGRAM,
    **_SANDBOX,
    **_GATEWAY,
    **_SEND,
    **_FLEET,
    **_INBOX,
    **_EXPLAIN,
}
