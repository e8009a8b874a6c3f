// The books of a shop, made up by a small generator of numbers: the result is the same in every run.
"use strict";

let state = 12345;
function random(bound) {
  state = (state * 1103515245 + 12345) % 2147483648;
  return Math.floor(state / 65536) % bound;
}

const nouns = ["lamp", "chair", "table", "shelf", "carpet", "mirror", "vase", "clock"];
const colours = ["red", "green", "blue", "white", "black"];

class Article {
  constructor(number) {
    this.number = number;
    this.name = `${colours[number % colours.length]} ${nouns[number % nouns.length]} no. ${number}`;
    this.price = 100 + random(9900);
    this.tags = [nouns[random(nouns.length)], colours[random(colours.length)]];
  }

  get label() {
    return this.name.toUpperCase() + " (" + (this.price / 100).toFixed(2) + ")";
  }
}

const articles = Array.from({ length: 120 }, (_, number) => new Article(number));
const byName = new Map(articles.map((article) => [article.name, article]));

function order(number) {
  const lines = [];
  for (let count = 1 + random(5); count > 0; count--) {
    const article = articles[random(articles.length)];
    lines.push({ article: article.name, quantity: 1 + random(4), note: "" });
  }
  return { number, customer: { id: random(40), address: { street: "Lane " + random(90) } }, lines };
}

// What comes over the wire.
const orders = [];
for (let number = 0; number < 260; number++) {
  const text = JSON.stringify(order(number));
  orders.push(JSON.parse(text));
}

// Discounts are closures, one a customer.
const discounts = new Map();
for (const { customer } of orders) {
  if (!discounts.has(customer.id)) {
    const percent = customer.id % 7;
    discounts.set(customer.id, (amount) => amount - Math.floor((amount * percent) / 100));
  }
}

const totals = {};
for (const { customer, lines } of orders) {
  const amount = lines
    .map(({ article, quantity }) => byName.get(article).price * quantity)
    .reduce((sum, price) => sum + price, 0);
  const key = `customer-${customer.id}`;
  totals[key] = (totals[key] ?? 0) + discounts.get(customer.id)(amount);
}

const ranking = Object.entries(totals)
  .map(([customer, total]) => ({ customer, total }))
  .sort((left, right) => right.total - left.total || left.customer.localeCompare(right.customer));

const words = new Set();
for (const article of articles) {
  for (const word of article.label.split(" ")) {
    words.add(word.toLowerCase());
  }
}

const report = ranking
  .map(({ customer, total }, place) => [place + 1, customer, total].join("\t"))
  .concat([...words].sort())
  .join("\n");
JSON.stringify({ report, orders: orders.length, words: words.size });
