// Hears the news of docs/MAIN_APP.md until its input ends, and says what the app did: a line of
// JSON for each message that it took, and whether its work was done.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { MicroserviceOptions } from '@nestjs/microservices';
import { NewsModule } from './news.module';
import { newsOptions } from './news.options';
import { News, NewsService } from './news.service';

function say(what: object): void {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

async function main(): Promise<void> {
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(NewsModule, {
    ...newsOptions,
    logger: ['error', 'warn'],
  });
  const service = app.get(NewsService) as any;
  const isNew = service.isNew.bind(service);
  service.isNew = (key: string, news: News) => {
    const done = isNew(key, news);
    say({ id: news.id, kind: news.kind, rowVersion: news.rowVersion, key, done });
    return done;
  };
  await app.listen();
  say({ listening: true });
  process.stdin.resume();
  process.stdin.on('end', () => void app.close().then(() => process.exit(0)));
}

void main();
