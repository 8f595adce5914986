// The app of docs/MAIN_APP.md, as tests and the demo drive it. A line of JSON in calls a service,
// and a line out answers. With NEWS=yes the app also hears news, and a line out tells what it heard
// and whether its work was done. It ends with its input.
import 'reflect-metadata';
import { createInterface } from 'node:readline';
import { Module, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { BookingsService } from './bookings.service.js';
import { HostsService } from './hosts.service.js';
import { NewsModule } from './news.module.js';
import { newsOptions } from './news.options.js';
import { NewsService, type News } from './news.service.js';
import { StripeCommandsModule } from './stripe-commands.module.js';

@Module({ imports: [StripeCommandsModule, NewsModule] })
class AppModule {}

const logger: ('error' | 'warn')[] = ['error', 'warn'];

function say(what: object): void {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

async function withNews(): Promise<INestApplicationContext> {
  const options = { ...newsOptions, logger };
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(AppModule, options);
  const service = app.get(NewsService) as any;
  const isNew = service.isNew.bind(service);
  service.isNew = (key: string, heard: News) => {
    const done = isNew(key, heard);
    say({ heard, key, done });
    return done;
  };
  await app.listen();
  return app;
}

async function main(): Promise<void> {
  const hears = process.env.NEWS === 'yes';
  const app = hears ? await withNews() : await NestFactory.createApplicationContext(AppModule, { logger });
  const services: Record<string, any> = {
    bookings: app.get(BookingsService),
    hosts: app.get(HostsService),
  };
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, service, method, args } = JSON.parse(line);
    services[service][method](...args).then(
      (ok: unknown) => say({ id, ok }),
      (err: any) => say({ id, err: typeof err === 'object' && 'code' in err ? err : String(err) }),
    );
  }
  await app.close();
  process.exit(0);
}

void main();
